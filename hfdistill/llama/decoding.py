"""The passes of a decode loop for small Llama models on a CPU. There the many small operations of a general forward
take most of the time: here projections are joined, the cache is one block that is read in order, and what a prompt's
pass would only compute to throw away is left out. In float32, too, a row's result does not depend on the rows beside
it, as far as the matrix library sums in the same order whatever the number of rows, which it does from four rows on.
Under autocast the products with weights are made in its dtype, of a copy made once, where the model is wide enough for
that to pay; norms, keys, values and attention stay in the weights' own.
"""

import torch
import torch.nn.functional as F
from transformers import LlamaForCausalLM

from .eligibility import product_dtype, projections
from .room import Room


_FEWEST_ROWS = 8
_FEWEST_POSITIONS = 64
_BLOCK = 16
# Products of fewer columns cost less in float32 than the casts around them (benchmarks/mixed_precision.py).
_FEWEST_COLUMNS = 128


class _Layer:
    """A layer's weights as the passes want them, and its keys and values `(rows, heads, positions, head_dim)`."""

    def __init__(self, layer, scale: float, dtype: torch.dtype):
        query, key, value, output, gate, up, down = (module.weight for module in projections(layer))
        self.input_norm = layer.input_layernorm.weight
        self.mlp_norm = layer.post_attention_layernorm.weight
        self.query_key_value = torch.cat([query * scale, key, value]).to(dtype)
        self.output = output.t().to(dtype)
        self.gate_up = torch.cat([gate, up]).to(dtype)
        self.down = down.t().to(dtype)
        self.keys = self.values = output.new_empty(0)


class LlamaForward:
    """What [`~hfdistill.llama.slots.SlotForward`] does, for a model of which `is_small_llama` holds. Its weights are
    read once, now.
    """

    @torch.no_grad()
    def __init__(self, model: LlamaForCausalLM, slots: int):
        config = model.config
        attention = model.model.layers[0].self_attn
        self.device = model.device
        self.room = Room(max(slots, _FEWEST_ROWS), _BLOCK, _FEWEST_ROWS, _FEWEST_POSITIONS)
        self.heads = config.num_attention_heads
        self.shared = config.num_key_value_heads
        self.head_dim = attention.head_dim
        self.epsilon = config.rms_norm_eps
        self.embedding = model.model.embed_tokens.weight
        wide = config.hidden_size >= _FEWEST_COLUMNS
        self.dtype = product_dtype(self.embedding) if wide else self.embedding.dtype
        self.norm = model.model.norm.weight
        self.head = model.lm_head.weight.to(self.dtype)
        self.rotary = model.model.rotary_emb
        self.layers = [_Layer(layer, attention.scaling, self.dtype) for layer in model.model.layers]
        self.fit(0, 0)

    def fit(self, rows: int, length: int) -> None:
        """As [`SlotForward.fit`]. A step reads all positions that there is room for, because reading with gaps costs
        more than the positions that are read in vain.
        """
        if not self.room.fit(rows, length):
            return
        for layer in self.layers:
            layer.keys = self._resized(layer.keys)
            layer.values = self._resized(layer.values)
        cosine, sine = self.rotary(self.embedding, torch.arange(self.room.positions)[None])
        self.cosine = cosine[0, :, None]
        half = self.head_dim // 2
        self.sine = torch.cat([-sine[0, :, None, :half], sine[0, :, None, half:]], dim=-1)
        # From the position's own place backwards, what is allowed stands before what is not.
        line = self.embedding.new_zeros(2 * self.room.positions)
        line[self.room.positions :] = -torch.inf
        self.masks = line.unfold(0, self.room.positions, 1)

    @torch.autocast("cpu", enabled=False)
    def prefill(self, tokens: torch.Tensor, first: int) -> None:
        """As [`SlotForward.prefill`]."""
        # Not too few tokens in all keep the order of sums.
        tokens = F.pad(tokens, (0, max(_FEWEST_ROWS - tokens.shape[1], 0)))
        rows, length = tokens.shape
        self.fit(max(first + rows, self.room.rows), max(length, self.room.positions))
        self._fill(tokens, torch.arange(length).expand(rows, length), first)

    @torch.autocast("cpu", enabled=False)
    def go_on(self, tokens: torch.Tensor, positions: torch.Tensor, first: int, length: int) -> None:
        """As [`SlotForward.go_on`]."""
        again = max(_FEWEST_ROWS - tokens.shape[1], 0)
        tokens, positions = (torch.cat([ids, ids[:, -1:].expand(-1, again)], 1) for ids in (tokens, positions))
        self.fit(max(first + len(tokens), self.room.rows), max(length, self.room.positions))
        self._fill(tokens, positions, first, -(-length // 16) * 16)

    def _fill(self, tokens: torch.Tensor, positions: torch.Tensor, first: int, behind: int = 0) -> None:
        """Computes tokens `(rows, time)` at `positions` of the slots from `first`. Attention sees what stands in them
        up to `behind`, or, without it, the tokens alone.
        """
        rows, length = tokens.shape
        # Steps of 16 positions in attention keep the order of sums, whatever was there before.
        rest = -length % 16
        slots = slice(first, first + rows)
        places = self._places(torch.arange(first, first + rows), positions).flatten()
        masked = {"is_causal": True}
        if behind:
            asking = F.pad(positions, (0, rest))
            masked = {"attn_mask": self.masks[self.room.positions - 1 - asking, :behind][:, None]}
        cosine, sine = self.cosine[positions].flatten(0, 1), self.sine[positions].flatten(0, 1)
        hidden = F.embedding(tokens.flatten(), self.embedding)
        for layer in self.layers:
            query, key, value = self._query_key_value(layer, hidden, cosine, sine)
            layer.keys.view(-1, self.head_dim).index_copy_(0, places, key.reshape(-1, self.head_dim))
            layer.values.view(-1, self.head_dim).index_copy_(0, places, value.reshape(-1, self.head_dim))
            if layer is self.layers[-1]:
                return
            query, key, value = (
                F.pad(part.view(rows, length, -1, self.head_dim).transpose(1, 2), (0, 0, 0, rest))
                for part in (query, key, value)
            )
            if behind:
                key, value = layer.keys[slots, :, :behind], layer.values[slots, :, :behind]
            mixed = F.scaled_dot_product_attention(
                query, key, value, **masked, scale=1.0, enable_gqa=self.heads != self.shared
            )
            mixed = mixed[:, :, :length].transpose(1, 2).reshape(rows * length, -1)
            hidden = self._mlp(layer, self._plus_product(hidden, mixed, layer.output))

    def _places(self, slots: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Where the vectors of each head lie for `positions` `(rows, time)` of slots `(rows,)`: `(rows, time, heads)`,
        in units of such vectors.
        """
        heads = slots[:, None] * self.shared + torch.arange(self.shared)
        return heads[:, None] * self.room.positions + positions[..., None]

    @torch.autocast("cpu", enabled=False)
    def decode(self, tokens: torch.Tensor, positions: torch.Tensor, length: int, alike: int = 0) -> torch.Tensor:
        """As [`SlotForward.decode`]: adds a token to each of the first rows, and returns their logits. Where rows are
        alike, the first one's keys and values are read for all, in one product, which sums in an order of its own.
        """
        rows = len(tokens)
        if rows < _FEWEST_ROWS:
            # Few rows go another way through the matrix library, with sums in another order.
            tokens = F.pad(tokens, (0, _FEWEST_ROWS - rows))
            positions = F.pad(positions, (0, _FEWEST_ROWS - rows), value=alike)
        self.fit(rows, length)
        count, shared, capacity = len(tokens), self.shared, self.room.positions
        cosine, sine = self.cosine[positions], self.sine[positions]
        places = self._places(torch.arange(count), positions[:, None]).flatten()
        mask = self.masks[capacity - 1 - positions, alike:][:, None, None]
        hidden = F.embedding(tokens, self.embedding)
        for layer in self.layers:
            query, key, value = self._query_key_value(layer, hidden, cosine, sine)
            layer.keys.view(-1, self.head_dim).index_copy_(0, places, key.reshape(-1, self.head_dim))
            layer.values.view(-1, self.head_dim).index_copy_(0, places, value.reshape(-1, self.head_dim))
            keys, values = (
                store[:count].view(-1, capacity, self.head_dim)[:, alike:] for store in (layer.keys, layer.values)
            )
            weights = torch.bmm(query.reshape(count * shared, -1, self.head_dim), keys.transpose(1, 2))
            weights.view(count, shared, -1, capacity - alike).add_(mask)
            if alike:
                mixed = self._mix_alike(layer, query, weights, values, alike)
            else:
                mixed = torch.bmm(weights.softmax(-1), values)
            hidden = self._mlp(layer, self._plus_product(hidden, mixed.reshape(count, -1), layer.output))
        return F.linear(self._normal(hidden, self.norm), self.head)[:rows]

    def _mix_alike(
        self, layer: _Layer, query: torch.Tensor, weights: torch.Tensor, values: torch.Tensor, alike: int
    ) -> torch.Tensor:
        """Attention of queries `(rows, heads, head_dim)` to the first row's first positions and, by `weights` not yet
        normalised, to `values` behind them in each row's own slot.
        """
        rows, shared = len(query), self.shared

        def by_heads(own: torch.Tensor) -> torch.Tensor:
            """`(rows * heads, queries, size)` to `(heads, rows * queries, size)`."""
            return own.view(rows, shared, -1, own.shape[-1]).transpose(0, 1).reshape(shared, -1, own.shape[-1])

        first_keys, first_values = (store[0, :, :alike] for store in (layer.keys, layer.values))
        first = torch.bmm(by_heads(query.reshape(rows * shared, -1, self.head_dim)), first_keys.transpose(1, 2))
        weights = torch.cat([first, by_heads(weights)], dim=-1).softmax(-1)
        own = weights[..., alike:].view(shared, rows, -1, values.shape[1]).transpose(0, 1)
        mixed = torch.bmm(own.reshape(rows * shared, -1, values.shape[1]), values)
        first = torch.bmm(weights[..., :alike], first_values).view(shared, rows, -1, self.head_dim)
        return mixed.view(rows, shared, -1, self.head_dim) + first.transpose(0, 1)

    def read_row(self, slot: int, start: int, stop: int) -> list[torch.Tensor]:
        """As [`SlotForward.read_row`]."""
        return [store[slot, :, start:stop].clone() for layer in self.layers for store in (layer.keys, layer.values)]

    def write_rows(self, slots: list[int], pieces: list[list[torch.Tensor]]) -> None:
        """As [`SlotForward.write_rows`]."""
        stores = (store for layer in self.layers for store in (layer.keys, layer.values))
        for store, states in zip(stores, zip(*pieces, strict=True), strict=True):
            joined = torch.cat(states, dim=1)
            store[slots, :, : joined.shape[1]] = joined

    def copy_rows(self, sources: list[int], targets: list[int], length: int) -> None:
        """Copies the first `length` positions of some slots over others."""
        for layer in self.layers:
            for store in (layer.keys, layer.values):
                for source, target in zip(sources, targets, strict=True):
                    store[target, :, :length] = store[source, :, :length]

    def clear_rows(self, slots: list[int]) -> None:
        """Forgets what stands in some slots."""
        for layer in self.layers:
            for slot in slots:
                layer.keys[slot] = layer.values[slot] = 0

    def _query_key_value(self, layer: _Layer, hidden: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor):
        """Rotated queries and keys, and values, each `(tokens, heads, head_dim)`."""
        joined = F.linear(self._normal(hidden, layer.input_norm), layer.query_key_value)
        joined = joined.to(hidden.dtype).view(len(hidden), -1, self.head_dim)
        turning, value = joined[:, : self.heads + self.shared], joined[:, self.heads + self.shared :]
        turned = (turning * cosine).addcmul_(turning.roll(self.head_dim // 2, -1), sine)
        return turned[:, : self.heads], turned[:, self.heads :], value

    def _mlp(self, layer: _Layer, hidden: torch.Tensor) -> torch.Tensor:
        gate, up = F.linear(self._normal(hidden, layer.mlp_norm), layer.gate_up).chunk(2, -1)
        return self._plus_product(hidden, F.silu(gate).mul_(up), layer.down)

    def _plus_product(self, hidden: torch.Tensor, states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if hidden.dtype == self.dtype:
            return torch.addmm(hidden, states, weight)
        return hidden + states.to(self.dtype) @ weight

    def _normal(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden, weight.shape, weight, self.epsilon).to(self.dtype)

    def _resized(self, store: torch.Tensor) -> torch.Tensor:
        resized = self.embedding.new_zeros((self.room.rows, self.shared, self.room.positions, self.head_dim))
        if len(store):
            rows, positions = min(len(store), self.room.rows), min(store.shape[2], self.room.positions)
            resized[:rows, :, :positions] = store[:rows, :, :positions]
        return resized
