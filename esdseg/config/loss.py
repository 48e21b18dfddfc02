"""Settings of the loss that training minimises."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from esdseg.config.section import Section

TermWeight = Annotated[float, Field(ge=0)]


class LossTerms(Section):
    """Weights of the sum that is minimised; a term that is not named has weight 0 and is left out.

    ``cross_entropy`` and ``focal`` are means over cells; ``dice``, ``lovasz`` and ``tversky`` look at all
    cells of a batch together, and average over the classes that are among them.
    """

    cross_entropy: TermWeight = 0.0
    focal: TermWeight = 0.0
    """Cross-entropy that takes less notice of cells the more certain they are (arXiv:1708.02002)."""
    dice: TermWeight = 0.0
    """One minus each class' F1, counted in probabilities (arXiv:1606.04797)."""
    lovasz: TermWeight = 0.0
    """Lovasz-softmax: a surface over each class' intersection over union (arXiv:1705.08790)."""
    tversky: TermWeight = 0.0
    """As ``dice``, with false positives and false negatives weighed apart (arXiv:1706.05721)."""

    @model_validator(mode="before")
    @classmethod
    def _name_all(cls, value: object) -> object:
        # Settings that were written down win over those of a run that is resumed; "not named" is one of them.
        return {**dict.fromkeys(cls.model_fields, 0.0), **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _some_weigh(self) -> Self:
        if not any(getattr(self, name) for name in LossTerms.model_fields):
            raise ValueError(
                "no term has a weight above 0; give one, such as {cross_entropy: 1, dice: 0.5}; the terms: "
                f"{', '.join(LossTerms.model_fields)}"
            )
        return self


class LossConfig(Section):
    """The loss over the cells with a known label: a weighted sum of terms."""

    terms: LossTerms = LossTerms(cross_entropy=1.0)
    class_weights: Literal["none", "balanced", "sqrt"] = "sqrt"
    """Weights by the inverse share of a class among the training cells, or its square root. For
    ``cross_entropy`` and ``focal``; to the other terms all classes count alike anyway."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target that is spread over all classes; for ``cross_entropy`` alone."""
    focal_gamma: Annotated[float, Field(ge=0, le=10)] = 2.0
    """How fast certain cells fade from ``focal``; 0 is cross-entropy."""
    tversky_alpha: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Weight of false positives in ``tversky``."""
    tversky_beta: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Weight of false negatives in ``tversky``; it is ``dice`` where both are 0.5."""
