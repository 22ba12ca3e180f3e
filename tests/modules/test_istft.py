"""The inverse STFT: exact lengths, exact reconstruction, frames centred on their samples."""

import pytest
import torch

from nemo_ext.modules.istft import InverseSTFT, RealInverseSTFT


def forward_stft(audio, n_fft, hop):
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(audio, n_fft, hop, n_fft, window, center=True, pad_mode="constant", return_complex=True)
    return spectrum[:, :, : audio.shape[1] // hop]


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (512, 128), (2048, 256), (1024, 512)])
def test_a_spectrum_comes_back_as_its_audio(n_fft, hop):
    audio = torch.randn(2, 20 * hop, generator=torch.Generator().manual_seed(0))
    back = InverseSTFT(n_fft, hop)(forward_stft(audio, n_fft, hop))
    assert back.shape == audio.shape
    # the frames that begin beyond the end were left out, so the last half frame has lost some of its sum
    inside = audio.shape[1] - n_fft // 2
    assert torch.allclose(back[:, :inside], audio[:, :inside], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_every_length_makes_that_many_hops_of_finite_samples(frames):
    spectrum = torch.randn(3, 513, frames, dtype=torch.cfloat)
    audio = InverseSTFT(1024, 256)(spectrum)
    assert audio.shape == (3, frames * 256)
    assert torch.isfinite(audio).all()
    assert audio.abs().max() < 1.0


def test_a_frame_is_centred_on_its_sample():
    audio = torch.zeros(1, 16 * 256)
    audio[0, 5 * 256] = 1.0
    back = InverseSTFT(1024, 256)(forward_stft(audio, 1024, 256))
    assert int(back.abs().argmax()) == 5 * 256


def test_same_as_torch_where_torch_defines_it():
    spectrum = forward_stft(torch.randn(1, 12 * 256), 1024, 256)
    ours = InverseSTFT(1024, 256)(spectrum)
    theirs = torch.istft(spectrum, 1024, 256, 1024, torch.hann_window(1024), center=True)
    assert torch.allclose(ours[:, : theirs.shape[1]], theirs, atol=1e-5)


def test_two_real_products_are_the_same_transform():
    spectrum = torch.randn(2, 513, 9, dtype=torch.cfloat, generator=torch.Generator().manual_seed(0))
    spectrum[:, [0, -1]] *= 20  # bins without a mirror image, which weigh half as much as the others
    inverse = InverseSTFT(1024, 256)
    assert torch.allclose(RealInverseSTFT(inverse)(spectrum.real, spectrum.imag), inverse(spectrum), atol=1e-4)


def test_a_hop_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiple"):
        InverseSTFT(1024, 300)
