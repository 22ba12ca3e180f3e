"""Small checkpoints written by an old release of NeMo with its own classes, and what that release makes of them.

Run by that release's own Python, in an environment that has no nemo_ext: benchmarks/migration.sh makes one for each
release. Nothing of the release is changed. For every case a ``NAME.nemo`` file, for adapters also the ``.pt`` file
that ``save_adapters`` writes, and ``NAME.npz`` with token ids and the mels or audio that the release itself computes.

    python write_files.py FOLDER
"""

import json
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

WIDTH, PREDICTOR, MELS = 48, 32, 80
TEXTS = ["Hello world, hello.", "The red house!", "We read it; unknownword."]
ARPABET = {"HELLO": "HH AH0 L OW1", "WORLD": "W ER1 L D", "THE": "DH AH0", "RED": "R EH1 D", "HOUSE": "HH AW1 S"}
ARPABET |= {"WE": "W IY1", "IT": "IH1 T"}
IPA = {"HELLO": "həˈɫoʊ", "WORLD": "ˈwɝɫd", "THE": "ðə", "RED": "ˈɹɛd", "HOUSE": "ˈhaʊs", "WE": "ˈwi", "IT": "ˈɪt"}
EVERYWHERE = "encoder+decoder+duration_predictor+pitch_predictor+aligner"


def transformer(kind, conditions):
    """Configuration of an encoder or decoder."""
    return {
        "_target_": f"nemo.collections.tts.modules.transformer.FFTransformer{kind}",
        "n_layer": 2,
        "n_head": 1,
        "d_model": WIDTH,
        "d_head": 16,
        "d_inner": 64,
        "kernel_size": 3,
        "dropout": 0.1,
        "dropatt": 0.1,
        "dropemb": 0.0,
        "condition_types": conditions,
        **({"d_embed": WIDTH} if kind == "Encoder" else {}),
    }


def predictor(conditions):
    """Configuration of a duration, pitch or energy predictor."""
    return {
        "_target_": "nemo.collections.tts.modules.fastpitch.TemporalPredictor",
        "input_size": WIDTH,
        "kernel_size": 3,
        "filter_size": PREDICTOR,
        "dropout": 0.1,
        "n_layers": 2,
        "condition_types": conditions,
    }


def preprocessor(target, **more):
    """Configuration of the mel: 22,050 Hz, 80 bands, hop 256."""
    return {
        "_target_": target,
        "nfilt" if "Filterbank" in target else "features": MELS,
        "lowfreq": 0,
        "highfreq": 8000,
        "n_fft": 1024,
        "n_window_size": 1024,
        "n_window_stride": 256,
        **({} if "Filterbank" in target else {"window_size": False, "window_stride": False}),
        "pad_to": 1,
        "pad_value": 0,
        "sample_rate": 22050,
        "window": "hann",
        "normalize": None,
        "preemph": None,
        "dither": 0.0,
        "log": True,
        "log_zero_guard_type": "add",
        "log_zero_guard_value": 1e-05,
        "mag_power": 1.0,
        **more,
    }


def tokenizer(alphabet, folder):
    """Configuration of a tokenizer with a small dictionary of its own."""
    words = ARPABET if alphabet == "arpabet" else IPA
    dictionary, heteronyms = folder / f"{alphabet}.dict", folder / "heteronyms"
    dictionary.write_text("".join(f"{w}  {p}\n" for w, p in words.items()), encoding="utf-8")
    heteronyms.write_text("read\n", encoding="utf-8")
    g2p = {"phoneme_dict": str(dictionary), "heteronyms": str(heteronyms), "phoneme_probability": 0.5}
    package = "nemo.collections.common.tokenizers.text_to_speech.tts_tokenizers"
    if alphabet == "arpabet":
        return {
            "_target_": f"{package}.EnglishPhonemesTokenizer",
            "punct": True,
            "stresses": True,
            "chars": True,
            "apostrophe": True,
            "pad_with_space": True,
            "g2p": {"_target_": "nemo.collections.tts.g2p.models.en_us_arpabet.EnglishG2p", **g2p},
        }
    return {
        "_target_": f"{package}.IPATokenizer",
        "punct": True,
        "apostrophe": True,
        "pad_with_space": True,
        "locale": "en-US",
        "g2p": {
            "_target_": "nemo.collections.tts.g2p.models.i18n_ipa.IpaG2p",
            "locale": "en-US",
            "use_chars": True,
            "use_stresses": True,
            **g2p,
        },
    }


def fastpitch_config(folder, alphabet="arpabet", speakers=1, conditions=(), encoder=None, energy=True):
    """A small FastPitch with learned alignment, as the release's own examples write it."""
    conditions = list(conditions)
    config = {
        "learn_alignment": True,
        "bin_loss_warmup_epochs": 100,
        "n_speakers": speakers,
        "max_token_duration": 75,
        "symbols_embedding_dim": WIDTH,
        "n_mel_channels": MELS,
        "pitch_embedding_kernel_size": 3,
        "energy_embedding_kernel_size": 3,
        "text_tokenizer": tokenizer(alphabet, folder),
        "train_ds": {
            "defer_setup": True,
            "dataset": {
                "_target_": "nemo.collections.tts.data.dataset.TTSDataset",
                "manifest_filepath": "train.json",
                "pitch_mean": 212.35,
                "pitch_std": 38.75,
                "pitch_norm": True,
                "sample_rate": 22050,
            },
        },
        "preprocessor": preprocessor("nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor"),
        "input_fft": transformer("Encoder", conditions),
        "output_fft": transformer("Decoder", conditions),
        "alignment_module": {
            "_target_": "nemo.collections.tts.modules.aligner.AlignmentEncoder",
            "n_text_channels": WIDTH,
            "n_mel_channels": MELS,
            "n_att_channels": 20,
            "condition_types": conditions,
        },
        "duration_predictor": predictor(conditions),
        "pitch_predictor": predictor(conditions),
        "optim": {"name": "adamw", "lr": 1e-3},
    }
    if energy:
        config["energy_predictor"] = predictor(conditions)
    if encoder:
        config["speaker_encoder"] = {"_target_": "nemo.collections.tts.modules.submodules.SpeakerEncoder", **encoder}
    return config


def lookup(speakers):
    """A speaker encoder's table."""
    package = "nemo.collections.tts.modules.submodules"
    return {"_target_": f"{package}.SpeakerLookupTable", "n_speakers": speakers, "embedding_dim": WIDTH}


def style_tokens():
    """A speaker encoder's global style tokens."""
    package = "nemo.collections.tts.modules.submodules"
    reference = {
        "_target_": f"{package}.ReferenceEncoder",
        "cnn_filters": [8, 8, 16],
        "dropout": 0.1,
        "gru_hidden": WIDTH,
        "kernel_size": 3,
        "n_mels": MELS,
        "padding": 1,
        "stride": 2,
        "bias": True,
    }
    sizes = {"gst_size": WIDTH, "n_style_token": 6, "n_style_attn_head": 2}
    return {"_target_": f"{package}.GlobalStyleToken", "reference_encoder": reference, **sizes}


def without_aligner(folder):
    """A FastPitch as releases before 1.8 trained it: durations given, letters as symbols."""
    config = fastpitch_config(folder)
    for key in ("text_tokenizer", "alignment_module"):
        del config[key]
    letters = list(" abcdefghijklmnopqrstuvwxyz'!,.?-")
    config["labels"] = letters
    config["learn_alignment"] = False
    config["input_fft"] |= {"n_embed": len(letters) + 1, "padding_idx": len(letters)}
    return config


def make_fastpitch(config):
    """The model with weights that differ everywhere, and durations of some frames."""
    from nemo.collections.tts.models import FastPitchModel

    torch.manual_seed(7)
    model = FastPitchModel(OmegaConf.create(config)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name or ".norm." in name or "cond_" in name:  # alike at the start in every model
                parameter.add_(0.2 * torch.randn_like(parameter))
        model.fastpitch.duration_predictor.fc.bias.fill_(1.6)
        if getattr(model.fastpitch.speaker_encoder, "precomputed_emb", None) is not None:
            model.fastpitch.speaker_encoder.precomputed_emb.normal_()
    return model


def add_adapter(model, name, dim, activation="swish", norm_position="pre"):
    """An adapter of the release's own LinearAdapter, with weights as if it had been trained."""
    from nemo.collections.common.parts.adapter_modules import LinearAdapterConfig

    config = LinearAdapterConfig(in_features=WIDTH, dim=dim, activation=activation, norm_position=norm_position)
    model.add_adapter(name, config)
    inner = name.rpartition(":")[2]
    torch.manual_seed(len(name))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if f".adapter_layer.{inner}." in key:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return inner


def with_adapter_support(config):
    """The release's adapter tutorial replaces the parts by their variants that take adapters."""
    from nemo.core.classes.mixins import adapter_mixins

    for part in ("input_fft", "output_fft", "duration_predictor", "pitch_predictor", "alignment_module"):
        found = adapter_mixins.get_registered_adapter(config[part]["_target_"])
        if found is not None:
            config[part]["_target_"] = found.adapter_class_path
    return config


def spoken(model, speakers, **more):
    """Token ids of the texts, and the release's mel of each with each speaker and pace."""
    out = {}
    for t, text in enumerate(TEXTS):
        tokens = model.parse(text, normalize=False)
        out[f"tokens_{t}"] = tokens[0].numpy()
        for speaker in speakers:
            for pace in (1.0, 0.8):
                given = None if speaker is None else torch.tensor([speaker])
                with torch.no_grad():
                    mel = model.generate_spectrogram(tokens=tokens, speaker=given, pace=pace, **more)
                out[f"mel_{t}_{speaker or 0}_{pace}"] = mel[0].numpy()
    return out


def save(model, folder, name, arrays, **about):
    """The checkpoint, and what the release makes of it."""
    model.save_to(str(folder / f"{name}.nemo"))
    np.savez(folder / f"{name}.npz", about=json.dumps({"texts": TEXTS, **about}), **arrays)
    print(f"{name}: written", flush=True)


def plain_cases(folder):
    """FastPitch without adapters."""
    three = [0, 1, 2]
    cases = {
        "arpabet": (fastpitch_config(folder), [None]),
        "arpabet_3_speakers": (fastpitch_config(folder, speakers=3), three),
        "ipa": (fastpitch_config(folder, "ipa", energy=False), [None]),
        "ipa_3_speakers": (fastpitch_config(folder, "ipa", speakers=3), three),
        "lookup_add_layernorm": (
            fastpitch_config(folder, "ipa", 3, ["add", "layernorm"], {"lookup_module": lookup(3)}),
            three,
        ),
        "lookup_concat": (fastpitch_config(folder, "arpabet", 1, ["concat"], {"lookup_module": lookup(3)}), three),
        "lookup_style_tokens": (
            fastpitch_config(folder, "arpabet", 3, ["add"], {"lookup_module": lookup(3), "gst_module": style_tokens()}),
            three,
        ),
        "precomputed": (
            fastpitch_config(folder, "arpabet", 1, ["add"], {"precomputed_embedding_dim": WIDTH}),
            [None],
        ),
        "durations_given": (without_aligner(folder), [None]),
    }
    for name, (config, speakers) in cases.items():
        model = make_fastpitch(config)
        save(model, folder, name, spoken(model, speakers), kind="fastpitch", speakers=len(speakers))


def adapter_cases(folder):
    """FastPitch with adapters in the checkpoint, each also in a file of its own."""
    for name, speakers, alphabet in (("arpabet_adapters", 1, "arpabet"), ("ipa_3_speakers_adapters", 3, "ipa")):
        model = make_fastpitch(with_adapter_support(fastpitch_config(folder, alphabet, speakers)))
        base = make_fastpitch(fastpitch_config(folder, alphabet, speakers))
        base.save_to(str(folder / f"{name}_base.nemo"))
        chosen = [None] if speakers == 1 else [0, 1, 2]
        arrays = spoken(model, chosen)
        adapters = [add_adapter(model, f"{EVERYWHERE}:anna", 12), add_adapter(model, "encoder+pitch_predictor:ben", 7)]
        for adapter in adapters:
            model.set_enabled_adapters(enabled=False)
            model.set_enabled_adapters(name=adapter, enabled=True)
            arrays |= {f"{adapter}/{key}": value for key, value in spoken(model, chosen).items()}
        model.save_adapters(str(folder / f"{name}.pt"))
        save(model, folder, name, arrays, kind="fastpitch", speakers=len(chosen), adapters=adapters)
    model = make_fastpitch(with_adapter_support(fastpitch_config(folder)))
    arrays = spoken(model, [None])
    add_adapter(model, "carla", 16, "gelu", "post")  # without parts: NeMo's default ones
    arrays |= {f"carla/{key}": value for key, value in spoken(model, [None]).items()}
    model.save_adapters(str(folder / "arpabet_adapter_post.pt"))
    save(model, folder, "arpabet_adapter_post", arrays, kind="fastpitch", speakers=1, adapters=["carla"])


def hifigan_config(resblock, dilations):
    """A small HiFi-GAN, as the release's own examples write it."""
    target = "nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures"
    return {
        "preprocessor": preprocessor(target, use_grads=False, exact_pad=False),
        "train_ds": {
            "defer_setup": True,
            "dataset": {"_target_": "nemo.collections.tts.data.dataset.VocoderDataset", "sample_rate": 22050},
        },
        "generator": {
            "_target_": "nemo.collections.tts.modules.hifigan_modules.Generator",
            "resblock": resblock,
            "upsample_rates": [8, 8, 4],
            "upsample_kernel_sizes": [16, 16, 8],
            "upsample_initial_channel": 32,
            "resblock_kernel_sizes": [3, 5],
            "resblock_dilation_sizes": [dilations, dilations],
        },
        "max_epochs": 1,
        "optim": {"_target_": "torch.optim.AdamW", "lr": 1e-4},
    }


def hifigan_cases(folder):
    """HiFi-GAN with both residual blocks."""
    from nemo.collections.tts.models import HifiGanModel

    for name, resblock, dilations in (("hifigan", 1, [1, 3, 5]), ("hifigan_v3", 2, [1, 3])):
        torch.manual_seed(3)
        model = HifiGanModel(OmegaConf.create(hifigan_config(resblock, dilations))).eval()
        mel = torch.randn(1, MELS, 60) - 4
        with torch.no_grad():
            for parameter in model.generator.parameters():  # NeMo starts so near zero that all audio is silence
                parameter.add_(0.05 * torch.randn_like(parameter))
            audio = model.convert_spectrogram_to_audio(spec=mel)
        save(model, folder, name, {"mel": mel[0].numpy(), "audio": audio[0].numpy()}, kind="hifigan")


def stand_in():
    """Empty modules for two packages that NeMo asks for at import, and that no text-to-speech model uses.

    torchaudio has no build that imports beside this torch, and youtokentome none for this Python. Whatever used them
    would fail loudly.
    """
    for name in ("torchaudio", "torchaudio.functional", "torchaudio.transforms", "youtokentome"):
        module = types.ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__version__ = "0.0"
        sys.modules[name] = module


def main():
    """Write every case into the folder named on the command line."""
    stand_in()
    import nemo

    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    plain_cases(folder)
    adapter_cases(folder)
    hifigan_cases(folder)
    about = {"nemo": nemo.__version__, "torch": torch.__version__, "python": sys.version.split()[0]}
    (folder / "release.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
