"""Run by an interpreter that has the package `text-generation` 0.7.0; prints what it got as JSON."""

import asyncio
import json
import sys

from text_generation import AsyncClient, Client
from text_generation.errors import OverloadedError, ValidationError


def main(url: str) -> None:
    client = Client(url, timeout=60)
    got = {}
    response = client.generate("Tom has 7", max_new_tokens=6, do_sample=True, seed=4, decoder_input_details=True)
    got["text"] = response.generated_text
    got["reason"] = response.details.finish_reason.value
    got["tokens"] = [token.id for token in response.details.tokens]
    got["prefill"] = [token.id for token in response.details.prefill]
    got["seed"] = response.details.seed
    streamed = list(client.generate_stream("Tom has 7", max_new_tokens=6, do_sample=True, seed=4))
    got["streamed"] = streamed[-1].generated_text
    got["streamed_tokens"] = [event.token.id for event in streamed]
    best = client.generate("Tom has 7", max_new_tokens=6, do_sample=True, best_of=2)
    got["sequences"] = len(best.details.best_of_sequences)
    chat = client.chat(messages=[{"role": "Q", "content": "How many ?"}], max_tokens=5, seed=1)
    got["chat"] = chat.choices[0].message.content
    try:
        client.generate("Tom", max_new_tokens=500)
    except ValidationError as error:
        got["refused"] = str(error)

    async def many() -> list[str]:
        client = AsyncClient(url, timeout=60)
        asked = (client.generate("Tom has", max_new_tokens=5, do_sample=True, seed=seed) for seed in range(8))
        return [response.generated_text for response in await asyncio.gather(*asked)]

    got["many"] = asyncio.run(many())
    got["overloaded"] = OverloadedError.__name__
    json.dump(got, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
