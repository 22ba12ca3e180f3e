"""Typed options for jobs, and the one place that composes the YAML under conf/.

A job's options are a dataclass whose fields are made by `option`; conf/<job>.yaml and the groups it names give values.
`compose` puts both together with what a person typed, and answers every mistake in one line.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_ext import jobs
from nemo_ext._arguments import Group, Typed, read, suggest
from nemo_ext._options import Option, describe, out_of_range
from nemo_ext.errors import UsageError, nearest

if TYPE_CHECKING:
    from omegaconf import DictConfig


def option(
    default: Any,
    help: str,
    unit: str = "",
    verbatim: bool = False,
    *,
    path: bool = False,
    choices: Sequence[str] = (),
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
) -> Any:
    """A field of a job's config dataclass, with what ``--help`` says of it.

    ``verbatim`` options (free text, names) are taken as typed, before Hydra's grammar sees them; so are ``path``
    options, in which a leading ``~`` becomes the home folder. Any other value than ``choices`` is refused, and so is a
    number below ``least``, not above ``above``, above ``most``, or not finite.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "verbatim": verbatim or path,
        "path": path,
        "choices": tuple(choices),
        **limits(least, most, above),
    }
    if isinstance(default, list | dict | set):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def number(default: Any, least: float | None = None, most: float | None = None, *, above: float | None = None) -> Any:
    """A field of a model's config dataclass with a range: of a number, or of each number in a list."""
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=limits(least, most, above))
    return field(default=default, metadata=limits(least, most, above))


def limits(least: float | None, most: float | None, above: float | None) -> dict[str, float]:
    """Those that are given, by the names that `Option` has for them."""
    given = {"least": least, "most": most, "above": above}
    return {name: limit for name, limit in given.items() if limit is not None}


def conf_dir() -> Path:
    """The folder of the YAML files: beside this file in an installed package, beside the package in a checkout."""
    here = Path(__file__).resolve().parent
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def groups(job: str, conf: Path | None = None) -> dict[str, Group]:
    """The groups that conf/<job>.yaml chooses from, by name, and those that a choice of theirs chooses from in turn."""
    conf = conf or conf_dir()
    found = {g.name: g for g in _listed(conf / f"{job}.yaml", conf, "")}
    for group in list(found.values()):
        for choice in group.choices:
            inner = _listed(conf / group.name / f"{choice}.yaml", conf, f"{group.name}/")
            found |= {g.name: g for g in inner if g.name not in found}
    return found


def _listed(path: Path, conf: Path, folder: str) -> Iterator[Group]:
    """The groups in the defaults list of the file at ``path``, which stands in ``folder`` of ``conf``."""
    import yaml

    if not path.is_file():
        return
    for entry in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", []):
        if isinstance(entry, dict):
            key, default = next(iter(entry.items()))
            if key.startswith("override "):  # a choice for a group that is listed elsewhere
                continue
            name = key.removeprefix("optional ").partition("@")[0]
            name = name.strip("/") if name.startswith("/") else folder + name
            yield Group(name, default, tuple(sorted(p.stem for p in (conf / name).glob("*.yaml"))))


def compose(job: str, overrides: Sequence[str] = (), *, conf: Path | None = None, light: bool = False) -> Any:
    """The options of ``job`` as an instance of its dataclass: its defaults, then conf/, then ``overrides``.

    Verbatim options come out exactly as they stand in ``overrides``. Free-form parts (``model``) are plain dicts; with
    ``light`` they are not compared with their classes, which costs seconds.

    Raises:
        UsageError: an unknown option or choice (the nearest known one is named), a value of the wrong kind, or
            Hydra's sweep syntax.
    """
    found = jobs.find(job)
    cls = jobs.load(found.config)
    conf = conf or conf_dir()
    if found.positional and overrides and "=" not in overrides[0] and not overrides[0].startswith("-"):
        overrides = [f"{found.positional}={overrides[0]}", *overrides[1:]]
    typed = read(overrides, describe(cls), groups(job, conf))
    cfg = _composed(job, cls, typed.choices, conf)
    _apply(cfg, typed, describe(cls), light)
    return _instance(cfg, cls, typed)


def conform(values: Any, cls: type, where: str = "") -> DictConfig:
    """``values`` (a mapping) checked against the dataclass ``cls``, whose defaults fill what they leave out.

    Raises:
        UsageError: an unknown key or a value of the wrong kind; ``where`` is written before the key.
    """
    from omegaconf import DictConfig, OmegaConf

    cfg = _writable(OmegaConf.structured(cls))
    known = describe(cls)
    given = values if isinstance(values, DictConfig) else OmegaConf.create(dict(values))
    for key in given:
        # A node as it stands: reading it would resolve an interpolation that only the whole config can.
        node: Any = given._get_node(key)
        _set(cfg, str(key), node if OmegaConf.is_config(node) else node._value(), known, where)
    for name, described in known.items():
        if why := described.refuses(_plain(cfg, name)):
            raise UsageError(f"{where}{name}={_plain(cfg, name)} is {why}")
    return cfg


def _plain(cfg: DictConfig, name: str) -> Any:
    """The value at the dotted ``name``, a list as one; None for a reference that only the whole config can follow."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        value = OmegaConf.select(cfg, name)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return None


def _composed(job: str, cls: type, choices: dict[str, str | None], conf: Path) -> DictConfig:
    """The dataclass's defaults overlaid with conf/<job>.yaml and the chosen groups."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    schema = _writable(OmegaConf.structured(cls))
    if not (conf / f"{job}.yaml").is_file():
        return schema
    chosen = [f"{name}={value}" for name, value in choices.items() if value is not None]
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(conf)):
            given = hydra_compose(config_name=job, overrides=chosen)
        OmegaConf.set_struct(given, False)
        merged = OmegaConf.merge(schema, given)
    except (HydraException, OmegaConfBaseException) as error:
        tried = f" with {' '.join(chosen)}" if chosen else ""
        raise UsageError(f"conf/{job}.yaml{tried} does not compose: {_first_line(error)}") from error
    assert isinstance(merged, DictConfig)
    return _writable(merged)


def _apply(cfg: DictConfig, typed: Typed, known: dict[str, Option], light: bool) -> None:
    for key, value, new in typed.values:
        free = next((o for o in known.values() if o.free and key.startswith(o.name + ".")), None)
        if free and not new and not light:
            _check_free(cfg, free.name, key)
        _set(cfg, key, value, known)
    for root in {o.name for o in known.values() if o.free}:
        touched = not light and any(key.startswith(root + ".") for key, _, _ in typed.values)
        target = _config_class(cfg, root) if touched else None
        if target is not None:
            conform(cfg[root], target, f"{root}.")
    for key, text in typed.verbatim.items():
        # Only for others that refer to it by ${...}: `_instance` sets the exact text once nothing is resolved any more.
        literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
        _set(cfg, key, literal if text != "???" else "", known)


def _check_free(cfg: DictConfig, root: str, key: str) -> None:
    """Below a free-form option, known is what the YAML gives and what the dataclass of its ``_target_`` has."""
    from omegaconf import OmegaConf

    known = [f"{root}.{k}" for k in _leaves(OmegaConf.to_container(cfg[root]) if cfg[root] is not None else {})]
    if key in known or any(k.startswith(key + ".") for k in known):
        return
    target = _config_class(cfg, root)
    if target is not None:
        fields = describe(target, f"{root}.")
        if key in fields:
            return
        known = [*known, *fields]
    raise UsageError(f"unknown option '{key}='{suggest(key, known) or f'; a new one is written +{key}='}")


def _config_class(cfg: DictConfig, root: str) -> type | None:
    """The dataclass of the part ``root``: the attribute ``config_class`` of the class that its ``_target_`` names.

    Importing a model costs seconds, so this is asked only for a part that somebody overrides.
    """
    from omegaconf import DictConfig

    part = cfg.get(root)
    target = part.get("_target_") if isinstance(part, DictConfig) else None
    if not isinstance(target, str) or not target.startswith("nemo_ext."):
        return None
    module, _, name = target.rpartition(".")
    try:
        found: type | None = getattr(jobs.load(f"{module}:{name}"), "config_class", None)
    except (ImportError, AttributeError):  # there is no such class: who wants to build it says so
        return None
    return found


def _leaves(tree: Any, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _set(cfg: DictConfig, key: str, value: Any, known: dict[str, Option], where: str = "") -> None:
    from omegaconf import OmegaConf
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

    described = known.get(key)
    try:
        OmegaConf.update(cfg, key, value, merge=True, force_add=False)
    except (ConfigKeyError, ConfigAttributeError) as error:
        full = str(getattr(error, "full_key", None) or key)
        raise UsageError(f"unknown option '{where}{full}='{suggest(full, known)}") from error
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        shown = "null" if value is None else f"'{value}'"
        full = str(getattr(error, "full_key", None) or key)
        described = known.get(full, described)
        wants = f"takes {described.wants}, got {shown}" if described else f"does not take {shown}"
        raise UsageError(f"{where}{full}= {wants}") from error
    if described and described.choices and value not in described.choices and isinstance(value, str):
        raise UsageError(
            f"{where}{key}={value} is not one of {', '.join(described.choices)}{nearest(value, described.choices)}"
        )


def _instance(cfg: DictConfig, cls: type, typed: Typed) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = describe(cls)
    try:
        instance = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UsageError(f"the options do not resolve: {_first_line(error)}") from error
    for key, text in typed.verbatim.items():
        *parents, last = key.split(".")
        owner = instance
        for name in parents:
            owner = getattr(owner, name)
        exact = str(Path(text).expanduser()) if known[key].path and text.startswith("~") else text
        object.__setattr__(owner, last, exact)
    if why := out_of_range(instance, known=known) or _not_finite(instance, known):
        raise UsageError(why)
    return instance


def _not_finite(instance: Any, known: dict[str, Option]) -> str:
    """The first number in a free-form part that is none."""
    for root in (option.name for option in known.values() if option.free):
        part = operator.attrgetter(root)(instance)
        for key in _leaves(part) if isinstance(part, dict) else ():
            value = _value_at(part, key)
            if isinstance(value, float) and not math.isfinite(value):
                return f"{root}.{key}={value:g} is not a finite number"
    return ""


def _value_at(tree: Any, key: str) -> Any:
    """The value at the dotted ``key``; None where a key has dots of its own."""
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree


def _writable(cfg: DictConfig) -> DictConfig:
    """``cfg`` with frozen dataclasses (MelSpec) open to be filled; `OmegaConf.to_object` freezes them again."""
    from omegaconf import DictConfig, OmegaConf

    OmegaConf.set_readonly(cfg, None)
    for key in cfg:
        node = cfg._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            _writable(node)
    return cfg


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def as_yaml(instance: Any) -> str:
    """A composed job as YAML, for ``--cfg`` and for run folders."""
    import yaml

    return str(yaml.safe_dump(dataclasses.asdict(instance), sort_keys=False, allow_unicode=True))
