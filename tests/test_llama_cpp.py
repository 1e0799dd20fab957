"""llama.cpp's file of logits: what is read, how it compares, and what is refused."""

from __future__ import annotations

import struct

import mpmath
import numpy as np
import pytest
from budget import COMPARED, DIVERGENCE, LIKELIHOOD_FLOAT32
from llama_cpp_files import its_divergences, stored, write

import onesum
from onesum.compare import LlamaCppLogits, compare
from onesum.compare import _compare as module

CHUNKS, CONTEXT = 3, 20
ROWS = CHUNKS * 9  # positions 10 to 18 of each chunk


def problem(vocabulary=501, spread=4.0, seed=0):
    """Logits of the base and of another model, and tokens."""
    rng = np.random.default_rng([seed, vocabulary])
    base = rng.normal(0, spread, (CHUNKS, 9, vocabulary)).astype(np.float32)
    other = (base + rng.normal(0, 0.2, base.shape)).astype(np.float32)
    return base, other, rng.integers(0, vocabulary, (CHUNKS, CONTEXT))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    base, other, tokens = problem()
    path = tmp_path_factory.mktemp("llama") / "base.kld"
    write(path, base, tokens)
    return path, base.reshape(ROWS, -1), other.reshape(ROWS, -1), tokens


@pytest.mark.parametrize("vocabulary", [1, 2, 33, 34])
def test_what_is_read(tmp_path, vocabulary):
    """Of an odd number of classes as of an even one."""
    base, _, tokens = problem(vocabulary)
    path = tmp_path / "base"
    write(path, base, tokens)
    file = LlamaCppLogits(path)
    assert (file.n_ctx, file.n_vocab, file.n_chunk) == (CONTEXT, vocabulary, CHUNKS)
    assert (file.shape, file.ndim, file.dtype) == ((ROWS, vocabulary), 2, np.float64)
    assert np.array_equal(file.tokens, tokens)
    # The token after each of the positions 10 to 18.
    assert np.array_equal(file.labels, tokens[:, 11:].reshape(-1))
    scale, least, q = (a.reshape(ROWS, -1) for a in stored(base))
    wanted = scale.astype(np.float64) * q + least
    assert np.array_equal(file[:], wanted)
    assert np.array_equal(file[4:19], wanted[4:19])
    assert np.array_equal(file[25:99, 1:20], wanted[25:, 1:20])
    assert file[5:5].shape == (0, vocabulary)
    with pytest.raises(IndexError, match="without one, got 2"):
        file[::2]


def test_rows_are_taken_as_logits(given):
    """Exactly: against 60 digits, from what is stored."""
    path, base, other, tokens = given
    mp = mpmath.MPContext()
    mp.dps = 60
    result = compare(LlamaCppLogits(path), other)
    for row in (0, 13, 26):
        scale, least, q = (a[0] for a in stored(base[row : row + 1]))
        log_p = [mp.mpf(float(scale[0])) * int(i) + mp.mpf(float(least[0])) for i in q]
        log_q = [mp.mpf(float(a)) for a in other[row]]
        mass = mp.fsum(map(mp.exp, log_p))
        log_p = [a - mp.log(mass) for a in log_p]
        total = mp.log(mp.fsum(map(mp.exp, log_q)))
        kl = mp.fsum(mp.exp(a) * (a - (b - total)) for a, b in zip(log_p, log_q, strict=True))
        label = tokens.reshape(CHUNKS, CONTEXT)[row // 9, 11 + row % 9]
        assert abs(result.kl.values[row] / kl - 1) < DIVERGENCE["native"]
        assert abs(result.log_likelihood_base.values[row] / log_p[label] - 1) < COMPARED
        assert abs(result.mass_error_base.values[row] - (mass - 1)) < COMPARED
    assert result.mass_error_other is None
    assert 0 < result.mass_error_base.max < 1e-3
    assert "stored mass - 1, base" in str(result)


def test_against_the_logits_that_were_stored(given):
    """With their softmax nothing but 16 bits and the lifted classes are between them."""
    path, base, _, tokens = given
    result = compare(LlamaCppLogits(path), base)
    assert result.kl.max < 1e-4
    assert result.same_top == 1
    exact = compare(base, base, tokens[:, 11:].reshape(-1)).log_likelihood_base.values
    got = result.log_likelihood_other.values
    np.testing.assert_allclose(got, exact, rtol=0, atol=LIKELIHOOD_FLOAT32)
    # Half a step of a 65 535th of 16, and what float32 makes of a row's numbers.
    whole = base.max(axis=1) - base[np.arange(ROWS), tokens[:, 11:].reshape(-1)] < 15.9
    assert 5 < whole.sum() < ROWS
    got = result.log_likelihood_base.values
    np.testing.assert_allclose(got[whole], exact[whole], rtol=0, atol=16 / 65535)
    assert (got[~whole] > exact[~whole]).all()


@pytest.mark.parametrize("vocabulary", [501, 30_001])
def test_what_llama_cpp_says_and_why(tmp_path, vocabulary):
    """Its KL of a row differs by two things, of which each is as large as computed here.

    With the stored masses s_i, which sum to S, and log p_i = log s_i - log S, what it adds up is
    sum s_i (log s_i - log q_i) = S (KL + log S), less the terms of log s_i <= -16.
    """
    base, other, tokens = problem(vocabulary, spread=6.0)
    base, tokens = base[:1], tokens[:1]
    write(tmp_path / "base", base, tokens)
    base, other = base.reshape(9, -1), other.reshape(CHUNKS * 9, -1)[:9]
    file = LlamaCppLogits(tmp_path / "base")
    result = compare(file, other)
    said = its_divergences(*stored(base), other)

    log_s, log_q = file[:], onesum.log_softmax(other.astype(np.float64))
    left_out = np.where(log_s <= -16, np.exp(log_s) * (log_s - log_q), 0).sum(axis=1)
    kl, off = result.kl.values, result.mass_error_base.values
    of_the_mass = off * kl + (1 + off) * np.log1p(off)
    np.testing.assert_allclose(said - kl, of_the_mass - left_out, rtol=1e-6, atol=1e-12)
    # Neither is nothing, beside a KL of some hundredths.
    assert np.abs(of_the_mass).max() > 1e-5
    assert np.abs(left_out).max() > 1e-5


def test_its_divergence_may_be_negative(given):
    """That of the softmax is not: of a model with what is stored for logits it is 0."""
    path, base, _, _ = given
    file = LlamaCppLogits(path)
    result = compare(file, file[:])
    assert result.kl.max == 0
    assert result.mass_error_base.min < 0
    assert its_divergences(*stored(base), file[:]).min() < 0


def test_blocks(given, monkeypatch):
    path, _, other, _ = given
    whole = compare(LlamaCppLogits(path), other)
    monkeypatch.setattr(module, "BLOCK", 501 * 4)
    parts = compare(LlamaCppLogits(path), other)
    for name in ("kl", "js", "delta_p", "mass_error_base"):
        assert np.array_equal(getattr(whole, name).values, getattr(parts, name).values)


def test_labels(given):
    """Those of the file, of either side, unless others are given."""
    path, _, other, tokens = given
    file, labels = LlamaCppLogits(path), tokens[:, 11:].reshape(-1)
    of_file = compare(file, other)
    assert of_file.perplexity_base == compare(file, other, labels).perplexity_base
    assert of_file.perplexity_base == compare(other, file).perplexity_other
    assert of_file.perplexity_base != compare(file, other, 0 * labels).perplexity_base
    mass = compare(other, file).mass_error_other.max
    assert mass == pytest.approx(of_file.mass_error_base.max, rel=0, abs=COMPARED)


def test_other_tokens(given, tmp_path):
    path, base, _, tokens = given
    changed = tokens.copy()
    changed[1, 4] += 1 if changed[1, 4] == 0 else -1
    write(tmp_path / "other", base.reshape(CHUNKS, 9, -1), changed)
    wanted = r"^other: expected the tokens of base, got 1 others, .* at position 4 of chunk 1"
    with pytest.raises(ValueError, match=wanted):
        compare(LlamaCppLogits(path), LlamaCppLogits(tmp_path / "other"))
    write(tmp_path / "other", base.reshape(CHUNKS, 9, -1)[:2], tokens[:2])
    with pytest.raises(ValueError, match=r"^other: has 18 rows, base has 27$"):
        compare(LlamaCppLogits(path), LlamaCppLogits(tmp_path / "other"))


def test_a_token_that_is_no_class(given, tmp_path):
    _, base, other, tokens = given
    tokens = tokens.copy()
    tokens[2, 19] = 501
    write(tmp_path / "base", base.reshape(CHUNKS, 9, -1), tokens)
    wanted = r"^labels: expected class indices from 0 to 500, got 501 in row 26$"
    with pytest.raises(IndexError, match=wanted):
        compare(LlamaCppLogits(tmp_path / "base"), other)


BYTES = 20 + 4 * CHUNKS * CONTEXT + ROWS * (8 + 2 * 502)


@pytest.mark.parametrize(
    ("bytes_left", "message"),
    [
        (0, r"expected a file starting with b'_logits_', got b''"),
        (5, r"expected a file starting with b'_logits_', got b'_logi'"),
        (12, r"expected a header of 20 bytes, got 12 bytes"),
        (100, rf"expected {BYTES} bytes, 27 rows of 1012 \(n_ctx 20, .*\), got 100 bytes"),
        (BYTES - 1, rf"expected {BYTES} bytes, .* got {BYTES - 1} bytes, 26 whole rows"),
    ],
)
def test_a_file_that_is_cut_short(given, tmp_path, bytes_left, message):
    path = tmp_path / "short"
    path.write_bytes(given[0].read_bytes()[:bytes_left])
    with pytest.raises(ValueError, match=f"^{path}: {message}$"):
        LlamaCppLogits(path)


def test_a_file_that_is_too_long(given, tmp_path):
    path = tmp_path / "long"
    path.write_bytes(given[0].read_bytes() + b"12")
    with pytest.raises(ValueError, match=rf"expected {BYTES} bytes, .* got {BYTES + 2} bytes$"):
        LlamaCppLogits(path)


def test_a_file_that_becomes_shorter(given, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(given[0].read_bytes())
    file = LlamaCppLogits(path)
    path.write_bytes(given[0].read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"^{path}: became shorter while it was read$"):
        file[:]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((-1, 32000, 5), "expected n_ctx >= 3, got -1"),
        ((2, 32000, 5), "expected n_ctx >= 3, got 2"),
        ((512, 0, 5), "expected n_vocab >= 1, got 0"),
        ((512, 32000, -(2**31)), "expected n_chunk >= 1, got -2147483648"),
        # The size has more than 64 bits.
        ((2**31 - 1,) * 3, "expected 99035203[0-9]{20} bytes, .* got 120 bytes"),
    ],
)
def test_a_header_that_makes_no_sense(tmp_path, header, message):
    path = tmp_path / "bad"
    path.write_bytes(b"_logits_" + struct.pack("<3i", *header) + bytes(100))
    with pytest.raises(ValueError, match=f"^{path}: {message}$"):
        LlamaCppLogits(path)


def test_another_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    wanted = r"expected a file starting with b'_logits_', got b'\\x93NUMPY\\x01\\x00'$"
    with pytest.raises(ValueError, match=wanted):
        LlamaCppLogits(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError):
        LlamaCppLogits(tmp_path / "none")
