"""A FastPitch whose voices are a speaker encoder's embeddings; and that one with a table is what it was."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nemo_ext import _nemo
from tests.models.acoustic.test_fastpitch import make, make_batch

ENCODER = {"name": "resemblyzer", "identity": "0123456789abcdef", "size": 20, "spec": "resemblyzer"}


@pytest.fixture
def model():
    made = make(encoder=ENCODER)
    made.set_base_embeddings(torch.nn.functional.normalize(torch.rand(2, 20), dim=1))
    return made


def embedded(model, seed=5):
    batch = make_batch(model)
    drawn = torch.rand(3, 20, generator=torch.Generator().manual_seed(seed))
    return dataclasses.replace(batch, embedding=torch.nn.functional.normalize(drawn, dim=1))


def test_the_slot_has_the_encoders_size_and_a_base_voice_its_row(model):
    slot = model.voice_layout.slots[0]
    assert (slot.name, slot.shape) == ("embedding", (20,))
    ben = model.base_voice("ben")
    assert ben.vector.shape == (model.voice_layout.size,)
    assert torch.equal(torch.from_numpy(ben.vector[:20]), model.fastpitch.speaker_emb.weight[1])


def test_the_projection_learns_and_the_table_does_not(model):
    losses, _, _ = model.learn(embedded(model))
    torch.stack(list(losses.values())).sum().backward()
    assert model.fastpitch.speaker_emb.weight.grad is None
    for name, parameter in model.named_parameters():
        if name != "fastpitch.speaker_emb.weight":
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
    assert model.voice_projection.weight.grad.abs().max() > 0


def test_it_trains_on_each_utterances_own_embedding(model):
    model.eval()
    batch = embedded(model)
    with torch.no_grad():
        own = model.learn(batch)[1]
        given = model.learn(batch, voice=batch.embedding)[1]
        table = model.learn(dataclasses.replace(batch, embedding=None))[1]
        rows = model.learn(batch, voice=model.fastpitch.speaker_emb.weight[batch.voice_ids])[1]
    assert torch.equal(own, given)
    assert torch.equal(table, rows)
    assert not torch.allclose(own, table, atol=1e-4)


def test_an_unseen_embedding_speaks_and_gradients_reach_it(model):
    batch = embedded(model)
    voice = torch.zeros(3, model.voice_layout.size)
    voice[:, :20] = batch.embedding
    voice.requires_grad_()
    losses, _, _ = model.learn(batch, voice=voice)
    torch.stack(list(losses.values())).sum().backward()
    assert voice.grad[:, :20].abs().sum() > 0
    model.eval()
    short, full = (model.predict_mel(batch.tokens, batch.token_lens, v.detach()) for v in (batch.embedding, voice))
    assert torch.equal(short.durations, full.durations)


def test_its_round_trip_is_exact_and_its_hash_is_that_of_what_reads_voices(model, tmp_path):
    model.eval()
    restored = _nemo.restore(_nemo.save(model, tmp_path / "model.nemo"))
    assert restored.encoder == model.encoder
    assert restored.encoder.size == 20
    assert restored.weights_hash() == model.weights_hash()
    batch = embedded(model)
    before, after = (m.predict_mel(batch.tokens, batch.token_lens, batch.embedding).mel for m in (model, restored))
    assert torch.equal(before, after)
    assert torch.equal(restored.voice_vector("ada"), model.voice_vector("ada"))
    hashed = model.weights_hash()
    model.set_base_embeddings(torch.zeros(2, 20))
    assert model.weights_hash() == hashed
    with torch.no_grad():
        model.voice_projection.weight.add_(1e-3)
    assert model.weights_hash() != hashed


def test_a_learned_table_is_what_it_was():
    """Nothing is added to such a model, nothing drawn, and what a batch holds beside is not looked at."""
    model = make().eval()
    assert model.encoder is None
    assert not [name for name in model.state_dict() if "voice_projection" in name]
    assert model.fastpitch.speaker_emb.weight.requires_grad
    assert torch.equal(model.voice_vector("ben")[:32], model.fastpitch.speaker_emb.weight[1])
    batch = make_batch(model)
    with torch.no_grad():
        plain = model.learn(batch)[1]
        beside = model.learn(dataclasses.replace(batch, embedding=torch.rand(3, 20)))[1]
    assert torch.equal(plain, beside)


def test_adaptation_listens_with_what_the_model_reads_from_the_embedding(model):
    """The aligner takes the projection, not the embedding itself, in the base as in adaptation's copy."""
    from nemo_ext.training.alignments import AlignerCopy, FrozenAligner

    model.eval()
    batch, row = make_batch(model), model.fastpitch.speaker_emb.weight[1]
    with torch.no_grad():
        _, _, theirs = model.learn(batch, voice=row.expand(3, -1))
        for aligner in (AlignerCopy(model, row, 1e-3).eval(), FrozenAligner(model, row)):
            assert torch.allclose(aligner.align(batch).attention, theirs.attention, atol=1e-6)
