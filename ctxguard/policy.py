"""The Policy: what a guard does, validated when it is made.

A stage is switched off by None, and set up by its own frozen dataclass. A policy comes from code,
from TOML (`Policy.from_toml`), from the environment (`CTXGUARD_POLICY`, a path), or from a preset.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import TypeAdapter, ValidationError

from ctxguard.errors import InputError, PolicyError
from ctxguard.fingerprint import fingerprint_of
from ctxguard.routing.settings import Routes
from ctxguard.stages import Compress, Deduplicate, Layout, Rank, Select
from ctxguard.text.template import Template
from ctxguard.text.tokens import Tokenizer, tokenizer_for
from ctxguard.types import Budget, Stage
from ctxguard.verification.settings import Verify

__all__ = ["Policy", "choose"]

OnError = Literal["pass", "raise"]
_PARTS: Mapping[str, type[Any]] = {
    "dedupe": Deduplicate,
    "rank": Rank,
    "compress": Compress,
    "select": Select,
    "layout": Layout,
    "routing": Routes,
    "verification": Verify,
}
"""The fields that can be switched off, and what sets them up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to do to what reaches the model."""

    budget: Budget | int | None = None
    """Token limits; a bare number limits the evidence; None: the model's window alone."""
    dedupe: Deduplicate | None = field(default_factory=Deduplicate)
    """Leave out copies, keep versions that differ in a fact; None: off."""
    rank: Rank | None = field(default_factory=lambda: Rank(always=False))
    """Estimate how likely each chunk helps, the most likely first; by default only where a limit
    asks for a choice, so that a guarded retriever stays a retriever. `Rank()` judges always;
    None: off."""
    compress: Compress | None = field(default_factory=Compress)
    """Divide chunks into pieces when they exceed a limit; None: all or nothing of a chunk."""
    select: Select | None = field(default_factory=Select)
    """Keep what is worth most within the budget; None: off."""
    layout: Layout | None = field(default_factory=lambda: Layout(order="rank"))
    """Order the evidence; by default as ranked, because code behind a retriever may take the first
    few. `Layout()` puts the best at both edges; None: off."""
    template: Template | None = None
    """What `Prepared.text` writes around each chunk (numbers, sources, conflicts); Select counts
    it. None: the text alone, and frameworks write chunks in their own way."""
    routing: Routes | None = None
    """Choose for each request how much inference it gets; None: what is configured."""
    verification: Verify | None = None
    """Hold every answer against the evidence; None: only where `Guard.verify` is called."""
    window: bool = True
    """Make messages fit the model's context window; False: count them only."""
    tokenizer: Tokenizer | str | None = None
    """Counts tokens: an encoding's or a model's name, or an object; None: the model's own."""
    on_error: OnError = "pass"
    """A stage that fails hands its input on with an error Decision ('pass') or raises ('raise')."""
    deadline: float | None = 10.0
    """Seconds that a stage may take when it runs code that is not ctxguard's (a tokenizer of your
    own); over it, the input is handed on with an error Decision. None: wait for ever."""

    def __post_init__(self) -> None:
        """Check every field; the message names the field and the way out."""
        for name, kind in _PARTS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise PolicyError(
                    f"Policy.{name}: expected {kind.__name__}(…) or None, got {value!r:.80}"
                )
        try:
            Budget.of(self.budget)
        except InputError as error:
            raise PolicyError(f"Policy.budget: {error}") from error
        if self.template is not None and not isinstance(self.template, Template):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(
                f"Policy.template: expected Template(…) or None, got {self.template!r}"
            )
        _check_cascade(self.routing, self.verification)
        if self.on_error not in get_args(OnError):
            raise PolicyError(f"Policy.on_error: expected 'pass' or 'raise', got {self.on_error!r}")
        if not isinstance(self.window, bool):  # pyright: ignore[reportUnnecessaryIsInstance] -- values come from untyped callers
            raise PolicyError(
                f"Policy.window: expected True or False, got {self.window!r}; "
                "the size of the context window is Budget(window=…)"
            )
        _check_deadline(self.deadline)
        _check_tokenizer(self.tokenizer)

    # -- presets ------------------------------------------------------------------------------

    @classmethod
    def balanced(cls) -> Policy:
        """The default: copies out, versions kept, everything else only where a limit asks."""
        return cls()

    @classmethod
    def lean(cls) -> Policy:
        """As little context as answers need: at most 2,000 tokens of evidence, shared text once."""
        return cls(
            budget=Budget(context_tokens=2000),
            dedupe=Deduplicate(share_boilerplate=True),
        )

    @classmethod
    def strict(cls) -> Policy:
        """Like balanced, but a stage that fails raises instead of handing its input on."""
        return cls(on_error="raise")

    @classmethod
    def off(cls) -> Policy:
        """Nothing is changed, all is counted: a guarded object behaves like the plain."""
        return cls(dedupe=None, rank=None, compress=None, select=None, layout=None, window=False)

    # -- sources ------------------------------------------------------------------------------

    @classmethod
    def from_toml(cls, path: str | Path) -> Policy:
        """The policy in a TOML file.

        Top-level keys are the fields; `[budget]`, `[template]` and the stages' names are tables of
        theirs; `dedupe = false` switches a stage off; `preset = "lean"` starts from a preset.

        Raises:
            PolicyError: naming the file and the field, for anything that cannot be used.
        """
        try:
            data: dict[str, Any] = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise PolicyError(f"policy file {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise PolicyError(f"policy file {path}: not TOML ({error})") from error
        try:
            return cls.from_mapping(data, folder=Path(path).parent)
        except PolicyError as error:
            raise PolicyError(f"policy file {path}: {error}") from error

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], *, folder: str | Path = "") -> Policy:
        """The policy in a mapping, as a TOML file would hold it.

        Args:
            data: the fields.
            folder: where paths in it begin; blank: in the working directory.

        Raises:
            PolicyError: naming the field.
        """
        fields = dict(data)
        base = cls._preset(fields.pop("preset", "balanced"))
        known = [item.name for item in dataclasses.fields(cls)]
        for key in fields:
            if key not in known:
                raise PolicyError(f"Policy.{key}: no such field; there are {', '.join(known)}")
        changes = {key: _parse(key, value, folder) for key, value in fields.items()}
        return dataclasses.replace(base, **changes)

    @classmethod
    def from_env(cls) -> Policy:
        """The policy of the environment: the file that `CTXGUARD_POLICY` names, else the default.

        Raises:
            PolicyError: when that file cannot be used.
        """
        path = os.environ.get("CTXGUARD_POLICY", "")
        return cls.from_toml(path) if path else cls.balanced()

    @classmethod
    def _preset(cls, name: object) -> Policy:
        presets: dict[str, Callable[[], Policy]] = {
            "balanced": cls.balanced,
            "lean": cls.lean,
            "strict": cls.strict,
            "off": cls.off,
        }
        if not isinstance(name, str) or name not in presets:
            raise PolicyError(f"Policy.preset: expected one of {', '.join(presets)}, got {name!r}")
        return presets[name]()

    # -- use ----------------------------------------------------------------------------------

    @property
    def limits(self) -> Budget:
        """The budget as a Budget."""
        return Budget.of(self.budget)

    @property
    def verifies(self) -> bool:
        """Whether answers may be verified: it asks for that, or a route does."""
        if self.verification is not None:
            return True
        routing = self.routing
        if routing is None or routing.mode == "shadow":
            return False
        levels = (route.verification for route in routing.routes)
        return routing.cascade is not None or any(level not in (None, "off") for level in levels)

    @property
    def repairs(self) -> bool:
        """Whether an answer that failed may be asked for anew."""
        own, routing = self.verification, self.routing
        if own is not None and own.on_fail != "flag":
            return True
        return (
            self.verifies
            and routing is not None
            and (
                routing.cascade is not None
                or any(route.verification == "repair" for route in routing.routes)
            )
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are on, in the order in which they run."""
        stages = (self.dedupe, self.rank, self.compress, self.select, self.layout)
        return tuple(stage for stage in stages if stage is not None)

    def resolve_tokenizer(self) -> Tokenizer | None:
        """The tokenizer that this policy asks for, None: the model's own."""
        return tokenizer_for(self.tokenizer) if isinstance(self.tokenizer, str) else self.tokenizer

    def fingerprint(self) -> str:
        """A short stable name of what this policy does, for cache keys; 16 hexadecimal digits.

        Every field is part of it, with the settings of every stage and what tells a tokenizer or a
        function of one's own from others; see `ctxguard.fingerprint`.
        """
        return fingerprint_of(self)


def choose(caller: str, policy: Policy | None, overrides: Mapping[str, object]) -> Policy:
    """The policy of a call like `guard(x, policy, budget=2000)`.

    Args:
        caller: the function, for the error.
        policy: None: `Policy.from_env()`.
        overrides: fields that replace the policy's.

    Raises:
        PolicyError: an override is no field of Policy, or its value cannot be used.
    """
    known = [item.name for item in dataclasses.fields(Policy)]
    for key in overrides:
        if key not in known:
            raise PolicyError(
                f"{caller}({key}=…): no such field of Policy; there are {', '.join(known)}"
            )
    chosen = policy or Policy.from_env()
    return dataclasses.replace(chosen, **cast("dict[str, Any]", overrides)) if overrides else chosen


def _check_cascade(routing: Routes | None, verification: Verify | None) -> None:
    """A cascade that no answer can climb is a mistake."""
    if routing is None or routing.cascade is None:
        return
    if len(routing.routes) == 1:
        raise PolicyError("Policy.routing: a cascade takes two routes or more, and there is one")
    if verification is not None and verification.heavy is not None:
        raise PolicyError(
            "Policy.verification: Verify.heavy and a cascade both say what 'escalate' asks; "
            "leave one of them out"
        )


def _check_deadline(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise PolicyError(f"Policy.deadline: expected seconds above 0 or None, got {value!r}")


def _check_tokenizer(value: object) -> None:
    named = isinstance(value, str)
    if value is None or (named and value.strip()):
        return
    if named or not callable(getattr(value, "encode", None)):
        raise PolicyError(
            f"Policy.tokenizer: expected an encoding's or a model's name, or an object with "
            f"encode(text) -> token ids, got {value!r}"
        )


@lru_cache(maxsize=8)
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _parse(key: str, value: object, folder: str | Path) -> object:
    """One field from plain data: a table becomes its dataclass, `false` switches a stage off."""
    if key in _PARTS and value is False:
        return None
    if key == "routing" and value is True:
        raise PolicyError("Policy.routing: expected a table with routes, or false")
    if key in _PARTS and value is True:
        return _PARTS[key]()
    if not isinstance(value, Mapping):
        return value
    kind = {"budget": Budget, "template": Template, **_PARTS}.get(key)
    if kind is None:
        raise PolicyError(f"Policy.{key}: a table is not expected here")
    table = cast("Mapping[str, object]", value)
    _check_names(key, kind, table)
    try:
        # Strict JSON takes a table for a dataclass and nothing else: "30" is no number, 1 no bool.
        return _adapter(kind).validate_json(
            json.dumps(table, default=str), strict=True, context={"folder": folder}
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in (key, *first["loc"]))
        said = first.get("ctx", {}).get("error", first["msg"])  # ours, without "Value error, "
        said = "no such field" if first["type"] == "unexpected_keyword_argument" else said
        raise PolicyError(f"Policy.{where}: {said}") from error


def _check_names(key: str, kind: type[Any], table: Mapping[str, object]) -> None:
    known = [item.name for item in dataclasses.fields(kind)]
    for name in table:
        if name not in known:
            raise PolicyError(f"Policy.{key}.{name}: no such field; there are {', '.join(known)}")
