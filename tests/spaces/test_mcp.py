"""The named calls as tools of the Model Context Protocol, by its own client, on a page in this process."""

import ast
import asyncio

import pytest

from hfdistill.space.app import launch
from hfdistill.space.settings import Settings


mcp = pytest.importorskip("mcp", reason="mcp is not installed")


@pytest.mark.slow
def test_tools_are_named_documented_and_answer(tiny):
    from mcp.client.streamable_http import streamable_http_client

    page = launch(Settings(tiny), server_name="127.0.0.1", quiet=True)

    async def call():
        address = f"{page.local_url}gradio_api/mcp/"
        async with (
            streamable_http_client(address) as (reading, writing, _),
            mcp.ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            return tools, await session.call_tool("results", {"count": 2})

    try:
        tools, answer = asyncio.run(call())
    finally:
        page.close()
    assert set(tools) == {"compare", "score", "best_of_n", "results"}
    assert "stored answers" in tools["results"].description
    assert set(tools["score"].inputSchema["properties"]) == {"question", "response"}
    found = ast.literal_eval(answer.content[0].text)  # as Gradio writes a dictionary
    assert found["total"] == 5
    assert len(found["questions"]) == 2
