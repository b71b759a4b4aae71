"""The table of theories: `study.theory` is one of its names."""

from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence

from lightning_d2l.config import registry
from lightning_d2l.theory import high_dimensional, networks, polynomials, regularisation
from lightning_d2l.theory.cross_validation import cross_validation
from lightning_d2l.theory.curves import Curve, Question, Theory, noise_floor
from lightning_d2l.theory.initialisation import depth_init
from lightning_d2l.theory.learning_rate import learning_rate
from lightning_d2l.training.record import RunRecord

THEORIES: Mapping[str, Callable[[Question, Sequence[RunRecord]], list[Curve]]] = ChainMap(
    registry.THEORIES,  # which plugins add to
    {
        "noise_floor": noise_floor,
        "capacity": polynomials.capacity,
        "learning_curve": polynomials.learning_curve,
        "bias_variance": polynomials.bias_variance,
        "double_descent": high_dimensional.double_descent,
        "interpolation_threshold": high_dimensional.interpolation_threshold,
        "early_stopping": high_dimensional.early_stopping,
        "cross_validation": cross_validation,
        "weight_decay": regularisation.weight_decay,
        "input_noise": regularisation.input_noise,
        "dropout_linear": regularisation.dropout_linear,
        "l1_l2": regularisation.l1_l2,
        "learning_rate": learning_rate,
        "width": networks.width,
        "depth_init": depth_init,
        "activation": networks.activation,
        "phm": networks.phm,
        "random_labels": networks.random_labels,
    },
)


def reasons(name: str | None, question: Question, runs: Sequence[RunRecord]) -> list[str]:
    """Why a theory is not drawn for some of the runs, a sentence each; a registered theory gives none."""
    theory = THEORIES.get(name or "")
    return theory.reasons(question, runs) if isinstance(theory, Theory) else []


def table() -> str:
    """What each theory assumes, as a table in Markdown (docs/theory.md)."""
    rows = ["| theory | it draws | along x | of runs with |", "|---|---|---|---|"]
    for name in registry.OWN_THEORIES:
        theory = THEORIES[name]
        for part in (theory, *theory.parts) if isinstance(theory, Theory) else ():
            if part.name == name or part is not noise_floor:
                what = (part.lines.__doc__ or "").partition("\n")[0].rstrip(".").replace("`", "")
                along = ", ".join(f"`{key}`" for key in part.keys) or "any"
                rows.append(f"| `{part.name}` | {what} | {along} | {'; '.join(part.assumed)} |")
    return "\n".join(rows)
