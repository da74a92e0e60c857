"""Recurrent networks for token sequences (SELFIES): the encoder reads both ways, the decoder sees z at every step."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .inputs import END, PAD, START
from .mlp import FirstLayer


class SequenceEncoder(nn.Module):
    """Bidirectional GRU: tokens [B, L] -> [B, parameters], from the last state of either direction."""

    def __init__(self, vocabulary: int, embedding: int, state: int, parameters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.recurrence = nn.GRU(embedding, state, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(2 * state, state), nn.ReLU(), nn.Linear(state, parameters))

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        states = self.recurrence(self.embedding(features))[0].unflatten(-1, (2, -1))
        # The forward direction has read everything at the last token before the padding, the backward one at the first.
        last = (features != PAD).sum(-1).sub(1).clamp(min=0)
        forward = states[:, :, 0].gather(1, last[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]
        return self.head(torch.cat([forward, states[:, 0, 1]], -1))


class SequenceDecoder(nn.Module):
    """Autoregressive GRU conditioned on the code at every step: [..., decoder_dim] -> logits [..., L, V]."""

    def __init__(
        self,
        decoder_dim: int,
        vocabulary: int,
        embedding: int,
        state: int,
        length: int,
        first: FirstLayer = nn.Linear,
    ) -> None:
        super().__init__()
        self.length = length
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.initial = first(decoder_dim, state)
        self.recurrence = nn.GRU(embedding + decoder_dim, state, batch_first=True)
        self.head = nn.Linear(state, vocabulary)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Logits of the next token after each of the prompt's [B, L] (teacher forcing).

        Raises:
            ValueError: without a prompt; :meth:`generate` makes sequences from the code alone.
        """
        if prompt is None:
            raise ValueError("the sequence decoder is teacher-forced: pass inputs with a prompt, or call generate(z)")
        prompt = prompt.expand(*code.shape[:-1], prompt.shape[-1]).flatten(0, -2)
        return self._step(code.flatten(0, -2), prompt, None)[0].unflatten(0, code.shape[:-1])

    def _step(self, code: Tensor, tokens: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        if state is None:
            state = self.initial(code).tanh()[None]
        repeated = code[:, None].expand(-1, tokens.shape[1], -1)
        outputs, state = self.recurrence(torch.cat([self.embedding(tokens), repeated], -1), state)
        return self.head(outputs), state

    @torch.no_grad()
    def generate(self, code: Tensor) -> Tensor:
        """The likeliest token at each step: [..., decoder_dim] -> [..., length], padded after the end token."""
        flat = code.flatten(0, -2)
        token = torch.full((len(flat), 1), START, device=code.device)
        state = None
        done = torch.zeros_like(token, dtype=torch.bool)
        sequence = []
        for _ in range(self.length):
            logits, state = self._step(flat, token, state)
            logits[..., [PAD, START]] = -torch.inf
            token = torch.where(done, PAD, logits.argmax(-1))
            done = done | (token == END)
            sequence.append(token)
        return torch.cat(sequence, -1).unflatten(0, code.shape[:-1])


class DraftDecoder(SequenceDecoder):
    """Autoregressive GRU with a draft of every position, made of z at once: [..., decoder_dim] -> logits [..., L, V].

    The draft, two layers and a vector a position, says what z knows of each token before any other is read; the GRU
    makes a sequence of it. So the decoder depends on z from the first step of training. ``precision`` is that of the
    layers between; the code and the logits stay in the parameters' dtype.
    """

    def __init__(
        self,
        decoder_dim: int,
        vocabulary: int,
        embedding: int,
        state: int,
        length: int,
        first: FirstLayer = nn.Linear,
        precision: torch.dtype = torch.float32,
    ) -> None:
        nn.Module.__init__(self)
        self.length, self.precision = length, precision
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.read = nn.Sequential(first(decoder_dim, 2 * state), nn.SiLU(), nn.Linear(2 * state, 2 * state), nn.SiLU())
        self.draft = nn.Linear(2 * state, length * embedding)
        self.initial = nn.Linear(2 * state, state)
        self.recurrence = nn.GRU(2 * embedding, state, batch_first=True)
        self.head = nn.Linear(state + embedding, vocabulary)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """Logits of the next token after each of the prompt's [B, L] (teacher forcing).

        Raises:
            ValueError: without a prompt; :meth:`generate` makes sequences from the code alone.
        """
        if prompt is None:
            raise ValueError("the sequence decoder is teacher-forced: pass inputs with a prompt, or call generate(z)")
        leading = code.shape[:-1]
        prompt = prompt.expand(*leading, prompt.shape[-1]).flatten(0, -2)
        draft, state = self._prepared(code.flatten(0, -2))
        return self._advance(draft[:, : prompt.shape[-1]], prompt, state)[0].unflatten(0, leading)

    def _prepared(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """The draft [B, L, embedding] and the first state [1, B, state] of codes [B, decoder_dim]."""
        first, *rest = self.read
        read = first(code)
        with torch.autocast(code.device.type, self.precision, enabled=self.precision != torch.float32):
            for layer in rest:
                read = layer(read)
            draft, state = self.draft(read), self.initial(read).tanh()
        return draft.unflatten(-1, (self.length, -1)).to(self.precision), state[None].to(self.precision)

    def _advance(self, draft: Tensor, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits after each of the tokens [B, S], given their part of the draft, and the state after the last."""
        read = torch.cat([self.embedding(tokens).to(self.precision), draft], -1)
        outputs, state = torch.gru(read, state, self._weights(), True, 1, 0.0, self.training, False, True)
        seen = torch.cat([outputs, draft], -1)
        head = F.linear(seen, self.head.weight.to(self.precision), self.head.bias.to(self.precision))
        return head.to(self.head.weight.dtype), state

    def _weights(self) -> list[Tensor]:
        """The GRU's weights in the precision of the layers, side by side in one block, as a GPU's kernels want them."""
        weights = self.recurrence._flat_weights
        if weights[0].dtype == self.precision:
            return weights
        block = torch.cat([weight.flatten() for weight in weights]).to(self.precision)
        parts = block.split([weight.numel() for weight in weights])
        return [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]

    @torch.no_grad()
    def generate(self, code: Tensor) -> Tensor:
        """The likeliest token at each step: [..., decoder_dim] -> [..., length], padded after the end token."""
        draft, state = self._prepared(code.flatten(0, -2))
        token = torch.full((len(draft), 1), START, device=code.device)
        done = torch.zeros_like(token, dtype=torch.bool)
        sequence = []
        for place in range(self.length):
            logits, state = self._advance(draft[:, place : place + 1], token, state)
            logits[..., [PAD, START]] = -torch.inf
            token = torch.where(done, PAD, logits.argmax(-1))
            done = done | (token == END)
            sequence.append(token)
        return torch.cat(sequence, -1).unflatten(0, code.shape[:-1])
