"""The language of latent spaces: text such as ``h2,s2,e2`` or ``6h2:learn`` as frozen data, and back.

    signature := component ("," component)*
    component := [count] letter dim [":" option]*

Letters: ``e`` Euclidean, ``s`` sphere, ``d`` stereographically projected sphere, ``h`` hyperboloid, ``p`` Poincaré
ball, ``u`` κ-stereographic of either sign. Options: a family (``wn`` wrapped normal, ``vmf`` von Mises-Fisher, ``ps``
power spherical, ``rn`` Riemannian normal), ``iso`` (one scale instead of one a dimension), ``k=-0.5`` (sectional
curvature), ``learn`` (learned curvature). ``dim`` is the dimension of the manifold, never of its ambient space.
No torch here.
"""

import math
import re
from dataclasses import dataclass, replace

from .errors import UserError

LETTERS = {
    "e": "Euclidean space",
    "s": "sphere",
    "d": "stereographically projected sphere",
    "h": "hyperboloid",
    "p": "Poincaré ball",
    "u": "κ-stereographic space of either sign",
}
FAMILIES = {
    "wn": "wrapped normal",
    "vmf": "von Mises-Fisher",
    "ps": "power spherical",
    "rn": "Riemannian normal",
}
LEGAL_FAMILIES = {"wn": "sdhpu", "vmf": "s", "ps": "s", "rn": "hps"}
DEFAULT_CURVATURE = {"e": 0.0, "s": 1.0, "d": 1.0, "h": -1.0, "p": -1.0, "u": 0.0}
SIGN_OF_CURVATURE = {"s": 1, "d": 1, "h": -1, "p": -1}
EMBEDDED = "sh"  # letters whose points have one coordinate more than the manifold has dimensions

_COMPONENT = re.compile(r"(?P<count>\d+)?(?P<letter>[a-z])(?P<dim>\d+)((?::[^:]*)*)", re.ASCII)


@dataclass(frozen=True)
class Component:
    """``count`` copies of one space with a family (None for ``e``) and a curvature ``k``, initial if learned."""

    letter: str
    dim: int
    count: int = 1
    family: str | None = None
    iso: bool = False
    k: float = 0.0
    learn: bool = False

    @property
    def ambient_dim(self) -> int:
        """Coordinates of a point of one copy: dim + 1 for ``s`` and ``h``, dim for the others."""
        return self.dim + (self.letter in EMBEDDED)

    def __str__(self) -> str:
        options = [self.family] if self.family not in (None, "wn") else []
        options += ["iso"] if self.iso else []
        options += [f"k={self.k!r}"] if self.k != DEFAULT_CURVATURE[self.letter] else []
        options += ["learn"] if self.learn else []
        count = "" if self.count == 1 else str(self.count)
        return ":".join([f"{count}{self.letter}{self.dim}", *options])


@dataclass(frozen=True)
class Signature:
    """A product of components in canonical form: equal spaces compare equal and print equal."""

    components: tuple[Component, ...]

    @property
    def dim(self) -> int:
        """Dimension of the product manifold."""
        return sum(c.count * c.dim for c in self.components)

    @property
    def ambient_dim(self) -> int:
        """Coordinates of a point of the product."""
        return sum(c.count * c.ambient_dim for c in self.components)

    @property
    def slug(self) -> str:
        """The text as part of a file name: ``h2,s2:k=0.5`` -> ``h2_s2-k0.5``."""
        return str(self).replace(",", "_").replace(":", "-").replace("=", "")

    def __str__(self) -> str:
        return ",".join(map(str, self.components))


def is_flat(signature: Signature) -> bool:
    """Whether every component is Euclidean: what curved spaces of the same dimension are compared with."""
    return all(component.letter == "e" for component in signature.components)


def parse(text: str) -> Signature:
    """Parse a signature into its canonical form; ``parse(str(x)) == x``.

    Raises:
        UserError: naming the text, what is wrong in it, and what is allowed.
    """
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"latent {text!r}: give a signature such as 'e2', 's5:vmf' or 'h2,s2,e2'")
    components: list[Component] = []
    for part in text.split(","):
        component = _parse_component(part.strip(), text)
        if components and _mergeable(components[-1], component):
            components[-1] = _merge(components[-1], component)
        else:
            components.append(component)
    return Signature(tuple(components))


def _parse_component(part: str, text: str) -> Component:
    where = f"latent {text!r}" if part == text else f"latent {text!r}, component {part!r}"
    match = _COMPONENT.fullmatch(part)
    if not match:
        raise UserError(f"{where}: write [count] letter dim [:option]*, such as '2h3:k=-0.5:learn'")
    letter, dim, count = match["letter"], int(match["dim"]), int(match["count"] or 1)
    if letter not in LETTERS:
        raise UserError(f"{where}: unknown geometry {letter!r}; choose one of {', '.join(LETTERS)}")
    if dim < 1:
        raise UserError(f"{where}: dimension {dim}; a component has at least one dimension")
    if count < 1:
        raise UserError(f"{where}: count {count}; a component occurs at least once")
    given: dict[str, object] = {}
    for option in filter(None, match[4].split(":")) if match[4] else ():
        name, value = _parse_option(option, letter, where)
        if name in given:
            raise UserError(f"{where}: {name} is given twice")
        given[name] = value
    if match[4] and "" in match[4].split(":")[1:]:
        raise UserError(f"{where}: an option is empty; options are {_options(letter)}")
    family = given.get("family", None if letter == "e" else "wn")
    if given.get("iso") and family not in (None, "wn"):
        raise UserError(f"{where}: iso does not apply to {family}, which has one scale already; drop it")
    component = Component(
        letter=letter,
        dim=dim,
        count=count,
        family=family,
        iso=bool(given.get("iso")) and dim > 1,
        k=float(given.get("k", DEFAULT_CURVATURE[letter])),
        learn=bool(given.get("learn")),
    )
    if letter == "e" and count > 1 and not component.iso:
        component = replace(component, dim=dim * count, count=1)
    return component


def _parse_option(option: str, letter: str, where: str) -> tuple[str, object]:
    if option in FAMILIES:
        if letter not in LEGAL_FAMILIES[option]:
            allowed = ", ".join(f for f in FAMILIES if letter in LEGAL_FAMILIES[f]) or "none"
            raise UserError(
                f"{where}: family {option!r} is not defined on {letter!r}; families of {letter!r}: {allowed}"
            )
        return "family", option
    if option == "iso":
        return "iso", True
    if option == "learn":
        if letter == "e":
            raise UserError(
                f"{where}: 'e' is flat and has no curvature to learn; choose u for a curvature learned from 0"
            )
        return "learn", True
    if option.startswith("k="):
        return "k", _parse_curvature(option[2:], letter, where)
    raise UserError(f"{where}: unknown option {option!r}; options of {letter!r} are {_options(letter)}")


def _parse_curvature(text: str, letter: str, where: str) -> float:
    if letter == "e":
        raise UserError(f"{where}: 'e' is flat; drop k, or choose one of s, d, h, p, u")
    try:
        k = float(text)
    except ValueError:
        k = math.nan
    if not math.isfinite(k):
        raise UserError(f"{where}: curvature k={text!r}; give a finite number such as k=-0.5")
    sign = SIGN_OF_CURVATURE.get(letter)
    if sign is not None and k * sign <= 0:
        raise UserError(
            f"{where}: curvature k={text}; {letter!r} needs k {'>' if sign > 0 else '<'} 0 (u takes either sign)"
        )
    return k + 0.0  # -0.0 becomes 0.0


def _options(letter: str) -> str:
    families = [f for f in FAMILIES if letter in LEGAL_FAMILIES[f]]
    return ", ".join([*families, "iso"] + ([] if letter == "e" else ["k=<number>", "learn"]))


def _mergeable(left: Component, right: Component) -> bool:
    if left.letter == right.letter == "e" and not left.iso and not right.iso:
        return True
    return replace(left, count=1) == replace(right, count=1)


def _merge(left: Component, right: Component) -> Component:
    if left.letter == "e" and not left.iso:
        return replace(left, dim=left.dim + right.dim)
    return replace(left, count=left.count + right.count)
