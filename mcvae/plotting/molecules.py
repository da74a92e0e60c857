"""SMILES as vector pictures: RDKit's drawing, read back as paths; RDKit is imported with the first molecule."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

SIZE = (300, 216)  # pixels of RDKit's drawing, of which axes show a scaled copy
_NUMBER = re.compile(r"[MLQCZ]|-?\d+(?:\.\d+)?")
_CODES = {"M": (Path.MOVETO,), "L": (Path.LINETO,), "Q": (Path.CURVE3,) * 2, "C": (Path.CURVE4,) * 3}


def draw_molecule(axes: Axes, smiles: str) -> bool:
    """Draw a molecule into ``axes``; False, and nothing drawn, if the text is empty or not a molecule."""
    molecule = _molecule(smiles)
    axes.set_xlim(0, SIZE[0])
    axes.set_ylim(SIZE[1], 0)
    if molecule is None:
        return False
    # Lengths of RDKit are pixels of its drawing, widths of lines in matplotlib are points.
    box = axes.get_window_extent()
    points = 72 / axes.figure.dpi * box.width / SIZE[0]
    for element in ElementTree.fromstring(_drawing(molecule)).iter("{http://www.w3.org/2000/svg}path"):
        style = dict(item.split(":") for item in element.get("style", "").rstrip(";").split(";") if item)
        fill, stroke = style.get("fill", element.get("fill", "none")), style.get("stroke", "none")
        width = float(style.get("stroke-width", "0").removesuffix("px")) * points
        axes.add_patch(
            PathPatch(_path(element.get("d", "")), facecolor=fill, edgecolor=stroke, linewidth=width, capstyle="round")
        )
    return True


def same_molecule(left: str, right: str) -> bool:
    """True if both texts are molecules and the same one (equal canonical SMILES)."""
    from rdkit import Chem

    first, second = _molecule(left), _molecule(right)
    if first is None or second is None:
        return False
    return Chem.MolToSmiles(first) == Chem.MolToSmiles(second)


def _molecule(smiles: str) -> Any:
    from rdkit import Chem, rdBase

    if not smiles:
        return None
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(smiles)


def _drawing(molecule: Any) -> str:
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DSVG(*SIZE)
    options = drawer.drawOptions()
    options.fixedBondLength = 50  # one scale for all molecules; larger ones are fitted
    options.bondLineWidth = 3
    options.padding = 0.06
    options.clearBackground = False
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, molecule)
    drawer.FinishDrawing()
    return drawer.GetDrawingText()


def _path(text: str) -> Path:
    """The path of an SVG's absolute M, L, Q, C and Z commands, which are all that RDKit writes."""
    vertices: list[tuple[float, float]] = []
    codes: list[int] = []
    tokens, command, position = _NUMBER.findall(text), "M", 0
    while position < len(tokens):
        if tokens[position] in "MLQCZ":
            command, position = tokens[position], position + 1
        if command == "Z":
            vertices.append(vertices[-1])
            codes.append(Path.CLOSEPOLY)
            continue
        for code in _CODES[command]:
            vertices.append((float(tokens[position]), float(tokens[position + 1])))
            codes.append(int(code))
            position += 2
    return Path(np.array(vertices), codes)
