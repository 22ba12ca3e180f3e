"""What a training in a folder is: the settings its weights depend on, how many steps, how fast. Kept in plan.json."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_ext.corpus.manifest import write_text
from nemo_ext.errors import NemoExtError
from nemo_ext.training.preflight import Speed
from nemo_ext.untrusted import read_json

_FILE = "plan.json"
# How to teach, as opposed to what and whom: may change from one run to the next.
_MAY_CHANGE = (
    "model.optim.lr",
    "model.optim.sched.",
    "model.losses.",
    "model.gradient_clip",
    "model.adversarial_from_step",
    "model.discriminator_warmup",
)


@dataclass
class Plan:
    """The plan of a training; a resumed run follows it, so that the same command does the same."""

    settings: dict[str, Any]  # dotted name -> value: what the weights depend on
    max_steps: int = 0
    max_minutes: float | None = None  # from which max_steps came
    speed: Speed | None = None
    measured_on: dict[str, Any] = field(default_factory=dict)  # the machine and the options that speed holds for
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])  # Weights & Biases' name for it

    def save(self, out: Path) -> None:
        """Write ``out/plan.json``."""
        write_text(out / _FILE, json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n")


def load(out: Path) -> Plan | None:
    """The plan in ``out``; None where there is none, or one that cannot be read."""
    try:
        held = read_json(out / _FILE, what="plan")
        speed = held.pop("speed")
        return Plan(**held, speed=Speed(**speed) if speed else None)
    except (NemoExtError, KeyError, TypeError, AttributeError):
        return None


def agree(out: Path, kept: Plan, settings: dict[str, Any], defaults: Mapping[str, Any] | None = None) -> str:
    """See that the training in ``out`` is the one that is asked for; tells what changes from here on, or nothing.

    ``defaults``: of the options. One that the training in ``out`` does not know, because a version without it began
    that training, is no difference as long as it stands at its default.

    Raises:
        NemoExtError: names the settings that differ and must not.
    """
    unknown = defaults or {}
    new = {k for k in settings if k not in kept.settings and k in unknown and unknown[k] == settings[k]}
    names = [k for k in {**kept.settings, **settings} if k not in new and kept.settings.get(k) != settings.get(k)]
    names.sort(key=lambda k: k != "model._target_")
    told = {k: f"{k}={_short(kept.settings.get(k))} there, {_short(settings.get(k))} now" for k in names}
    fixed = [text for k, text in told.items() if not k.startswith(_MAY_CHANGE)]
    if fixed:
        more = f"; and {len(fixed) - 3} more" if len(fixed) > 3 else ""
        raise NemoExtError(
            f"{out} holds a training with other settings ({'; '.join(fixed[:3])}{more}): give another out=, or delete "
            "that one"
        )
    return "; ".join(told.values())


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` -> ``{"a.b": 1}``, with JSON's kinds of values."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = json.loads(json.dumps(value))
    return found


def corpus_hash(folder: Path) -> str:
    """Hash of what the corpus in ``folder`` trains on; it may be moved."""
    return hashlib.sha256((folder / "train.jsonl").read_bytes()).hexdigest()[:12]


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
