"""Checkpoints as older releases wrote them: stock classes of NeMo 3, and configurations in the words of their time."""

import importlib.util
import io
import tarfile
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def release():
    """The script with which benchmarks/migration.sh lets old releases write their files, here on NeMo 3's classes."""
    spec = importlib.util.spec_from_file_location("write_files", ROOT / "benchmarks/old_releases/write_files.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# What modules were called in NeMo 1.0 to 1.14.
FORMER = {
    "nemo.collections.tts.g2p.models.en_us_arpabet.EnglishG2p": "nemo_text_processing.g2p.modules.EnglishG2p",
    "nemo.collections.tts.g2p.models.i18n_ipa.IpaG2p": "nemo_text_processing.g2p.modules.IPAG2P",
    "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers": "nemo.collections.tts.torch.tts_tokenizers",
    "nemo.collections.tts.data.dataset.TTSDataset": "nemo.collections.tts.torch.data.TTSDataset",
}


def open_nemo(path):
    """``(config, {name: bytes})`` of a .nemo file."""
    with tarfile.open(path) as archive:
        files = {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive if m.isreg()}
    return yaml.safe_load(files.pop("model_config.yaml")), files


def pack_nemo(path, config, files):
    """A .nemo file of ``config`` and ``files``; a TarInfo instead of bytes is put in as it is."""
    with tarfile.open(path, "w:") as archive:
        for name, content in {"model_config.yaml": yaml.safe_dump(config).encode(), **files}.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def aged(path, version="1.10.0"):
    """The file at ``path`` with its configuration in the words of an older release."""
    config, files = open_nemo(path)
    text = yaml.safe_dump({**config, "nemo_version": version, "log_config": None, "sup_data_path": "sup"})
    for now, former in FORMER.items():
        text = text.replace(now, former)
    return pack_nemo(path, yaml.safe_load(text), files)


def weights_of(files):
    """The weights among a .nemo file's ``files``."""
    return torch.load(io.BytesIO(files["model_weights.ckpt"]), weights_only=True)


def as_bytes(thing):
    """``torch.save`` into bytes."""
    content = io.BytesIO()
    torch.save(thing, content)
    return content.getvalue()


@pytest.fixture
def old(release, tmp_path):
    """``old(**settings)``: a stock FastPitch and the path of its checkpoint in the words of an older release."""

    def make(name="old", alphabet="arpabet", speakers=1, conditions=(), encoder=None, energy=True):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = release.fastpitch_config(folder, alphabet, speakers, conditions, encoder, energy)
        model = release.make_fastpitch(config)
        model.save_to(str(folder / "old.nemo"))
        return model, aged(folder / "old.nemo")

    return make
