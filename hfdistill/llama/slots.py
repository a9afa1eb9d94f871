"""Any model of transformers over a key-value cache of slots: position `p` of a row lies at index `p` of its slot."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin, get_layer_types_and_kwargs

from ..errors import HFDistillError
from .room import Room


_FULL = "full_attention"
_WINDOWED = "sliding_attention"
_BLOCK = 64
_MASKED = ("sdpa", "eager")
_PASSED = {"position_ids", "attention_mask", "past_key_values", "logits_to_keep"}


def check_layers(config: PreTrainedConfig) -> None:
    """Refuse a model of whose layers generation here does not know every kind.

    Raises:
        `HFDistillError`: some remember in another way than by keys and values of all positions, or of a window.
    """
    config = config.get_text_config(decoder=True)
    unknown = sorted(set(get_layer_types_and_kwargs(config)[0]) - {_FULL, _WINDOWED})
    if unknown:
        raise HFDistillError(
            f"{config.model_type} has layers of type {', '.join(unknown)}; generation here knows "
            f"{_FULL} and {_WINDOWED} only, serve this model by vLLM or TGI instead"
        )


@contextmanager
def masked_attention(model: PreTrainedModel) -> Iterator[None]:
    """Lets a model attend by a kernel that takes the masks of [`SlotForward`] for a while, on the same weights."""
    usual = model.config._attn_implementation
    if usual in _MASKED:
        yield
        return
    model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


class SlotForward:
    """The two passes of a decode loop, over up to `slots` rows, by a decoder-only model's own forward."""

    def __init__(self, model, slots: int):
        attention = model.config._attn_implementation
        if attention not in _MASKED:
            raise HFDistillError(
                f"a decode loop needs a model with attn_implementation 'sdpa' or 'eager', this one has {attention!r}"
            )
        self.cache = SlotCache(model.config, slots)
        missing = _PASSED - inspect.signature(model.forward).parameters.keys()
        if missing and isinstance(model, PreTrainedModel):
            raise HFDistillError(
                f"{type(model).__name__} takes no {', '.join(sorted(missing))}, which generation here goes by; serve "
                "this model by vLLM or TGI instead"
            )
        self.model = model
        self.device = model.device

    def fit(self, rows: int, length: int) -> None:
        """Makes room for so many rows of so many positions, and gives back what is not needed for them."""
        self.cache.fit(rows, length)

    def prefill(self, tokens: torch.Tensor, first: int) -> None:
        """Fills the slots from `first` with prompts `(rows, length)`, padded on the right."""
        rows, length = tokens.shape
        self.cache.fill(first, rows, length)
        # No causal position looks at the padding, so this pass needs no mask.
        self.model(
            input_ids=tokens,
            position_ids=torch.arange(length, device=self.device).expand(rows, length),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )

    def go_on(self, tokens: torch.Tensor, positions: torch.Tensor, first: int, length: int) -> None:
        """Fills the slots from `first` further, behind what stands there.

        Args:
            tokens (`torch.Tensor`): `(rows, time)`; where a row has fewer, its last one again.
            positions (`torch.Tensor`): their positions, `(rows, time)`.
            first (`int`): the first of the slots.
            length (`int`): the largest position plus one.
        """
        room = self.cache.room
        self.cache.fit(max(first + len(tokens), room.rows), max(length, room.positions))
        self._extend(tokens, positions, first, length)

    def decode(self, tokens: torch.Tensor, positions: torch.Tensor, length: int, alike: int = 0) -> torch.Tensor:
        """Adds a token to each of the first rows.

        Args:
            tokens (`torch.Tensor`): `(rows,)`.
            positions (`torch.Tensor`): `(rows,)`.
            length (`int`): the largest position plus one.
            alike (`int`, *optional*, defaults to 0): so many first positions, in front of all of these, hold the same
                tokens in every row. A model's own attention reads them in each row; the passes written out read one.

        Returns:
            `torch.Tensor`: logits, `(rows, vocabulary)`.
        """
        self.cache.fit(len(tokens), length)
        return self._extend(tokens[:, None], positions[:, None], 0, length)

    def _extend(self, tokens: torch.Tensor, positions: torch.Tensor, first: int, length: int) -> torch.Tensor:
        self.cache.extend(positions, first, length)
        return self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=self.cache.mask(positions, length, self.model.dtype),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def read_row(self, slot: int, start: int, stop: int) -> list[torch.Tensor]:
        """Copies of a slot's keys and values from one position to another, as [`write_rows`] takes them."""
        return [store[slot, start:stop].clone() for store in self._stores()]

    def write_rows(self, slots: list[int], pieces: list[list[torch.Tensor]]) -> None:
        """Lets some slots begin with pieces of [`read_row`], end to end."""
        for store, states in zip(self._stores(), zip(*pieces, strict=True), strict=True):
            joined = torch.cat(states)
            store[slots, : len(joined)] = joined

    def _stores(self) -> Iterator[torch.Tensor]:
        return (store for layer in self.cache.layers for store in (layer.keys, layer.values))

    def copy_rows(self, sources: list[int], targets: list[int], length: int) -> None:
        """Copies the first `length` positions of some slots over others."""
        for layer in self.cache.layers:
            for store in (layer.keys, layer.values):
                if store is not None:
                    for source, target in zip(sources, targets, strict=True):
                        store[target, :length] = store[source, :length]

    def clear_rows(self, slots: list[int]) -> None:
        """Forgets what stands in some slots."""
        for layer in self.cache.layers:
            for slot in slots:
                layer.keys[slot] = layer.values[slot] = 0


class SlotLayer(CacheLayerMixin):
    """One layer's keys and values, `(rows, positions, heads, head_dim)`; the cache says what the next call means."""

    is_sliding = False

    def __init__(self, cache: "SlotCache"):
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        room, device = self.cache.room, key_states.device.type
        # What attention would cast at every step is kept as it is cast: queries, keys and values of one type.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else value_states.dtype
        self.keys, self.values = (
            states.new_zeros((room.rows, room.positions, states.shape[1], states.shape[3]), dtype=dtype)
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def fit(self, room: Room) -> None:
        """Takes the size of `room`; what stands there stays."""
        if self.is_initialized:
            # One after the other: the old ones and the new ones never stand whole beside each other.
            self.keys = _resized(self.keys, room)
            self.values = _resized(self.values, room)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self.cache
        if cache.filling is not None:
            first, rows, length = cache.filling
            self.keys[first : first + rows, :length] = key_states.transpose(1, 2)
            self.values[first : first + rows, :length] = value_states.transpose(1, 2)
            return key_states, value_states
        slots, length = cache.reading
        for store, states in ((self.keys, key_states), (self.values, value_states)):
            flat = store.view(-1, store.shape[2] * store.shape[3])
            states = states.transpose(1, 2).reshape(len(cache.writing), -1)
            flat.index_copy_(0, cache.writing, states.to(store.dtype))
        return self.keys[slots, :length].transpose(1, 2), self.values[slots, :length].transpose(1, 2)

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return (query_length, 0) if self.cache.filling is not None else (self.cache.reading[1], 0)

    def get_seq_length(self) -> int:
        return 0 if self.cache.filling is not None else self.cache.reading[1] - 1

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):
    """Keys and values of up to `slots` rows. Before each forward pass the owner says whether it fills slots with
    prompts (`fill`) or adds positions to rows (`extend`), for which it has made room. Full and sliding-window
    attention are understood.
    """

    def __init__(self, config, slots: int):
        check_layers(config)
        types, options = get_layer_types_and_kwargs(config.get_text_config(decoder=True))
        self.room = Room(slots, _BLOCK)
        self.windows = {kind: option.get("sliding_window") for kind, option in zip(types, options, strict=True)}
        self.filling: tuple[int, int, int] | None = None
        self.reading = (slice(0), 0)
        self.writing: torch.Tensor | None = None
        super().__init__(layers=[SlotLayer(self) for _ in types])

    def fill(self, first: int, rows: int, length: int) -> None:
        """The next forward pass carries `rows` prompts of `length` positions for the slots from `first`."""
        self.fit(max(first + rows, self.room.rows), max(length, self.room.positions))
        self.filling = (first, rows, length)

    def extend(self, positions: torch.Tensor, first: int, length: int) -> None:
        """The next forward pass has tokens at `positions` `(rows, time)` of the slots from `first`; `length` is the
        largest position plus one.
        """
        rows = len(positions)
        self.filling = None
        self.reading = (slice(first, first + rows), length)
        slots = torch.arange(first, first + rows, device=positions.device)
        self.writing = (slots[:, None] * self.room.positions + positions).flatten()

    def mask(self, positions: torch.Tensor, length: int, dtype: torch.dtype):
        """The additive mask of the pass announced by `extend`, `(rows, 1, time, length)`, or one a kind of layer where
        the model mixes kinds.
        """
        index = torch.arange(length, device=positions.device)
        reach = positions[..., None] - index
        nothing, forbidden = reach.new_zeros((), dtype=dtype), reach.new_full((), -torch.inf, dtype=dtype)
        masks = {}
        for kind, window in self.windows.items():
            seen = reach >= 0 if window is None else (reach >= 0) & (reach < window)
            masks[kind] = torch.where(seen, nothing, forbidden)[:, None]
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def fit(self, rows: int, length: int) -> None:
        """Makes room for `rows` of `length` positions, and gives back what is not needed for them."""
        if self.room.fit(rows, length):
            for layer in self.layers:
                layer.fit(self.room)


def _resized(store: torch.Tensor, room: Room) -> torch.Tensor:
    resized = store.new_zeros((room.rows, room.positions, *store.shape[2:]))
    rows, positions = min(len(store), room.rows), min(store.shape[1], room.positions)
    resized[:rows, :positions] = store[:rows, :positions]
    return resized
