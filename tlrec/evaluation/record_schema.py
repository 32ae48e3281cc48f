"""An evaluation's record: the schema of a line of runs.jsonl.

Other fields may stand beside these (versions of the machine, a baseline's training).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from tlrec.errors import printable

# a name that any table, figure or terminal can show
Name = Annotated[str, BeforeValidator(lambda text: printable(text) if isinstance(text, str) else text)]
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(gt=-1e300, lt=1e300)]  # JSON's 1e999 is infinite
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]  # [low, high]
Bin = Annotated[list[Number], Field(min_length=3, max_length=3)]


class _Schema(BaseModel, strict=True, allow_inf_nan=False):
    """A part of a record."""


class SubsetMetrics(_Schema):
    n: int  # rows
    auc: Share | None
    uauc: Share | None
    uauc_users: int


class Metrics(_Schema):
    """Figures of the scored rows; None where one is undefined (AUC of a single class, UAUC without users)."""

    n: int  # rows
    users: int | None = None  # None: unknown
    share_yes: Number | None = None
    auc: Share | None = None
    interval_rule: Literal["jackknife", "bootstrap"] | None = None  # of all 95% intervals: intervals.py, or percentiles
    auc_interval_rows: Interval | None = None  # over rows
    auc_interval_users: Interval | None = None  # over users
    uauc: Share | None = None  # mean over users with both answers
    uauc_interval: Interval | None = None
    uauc_users: int = 0
    gauc: Share | None = None  # the same mean weighted by the users' rows
    gauc_interval: Interval | None = None
    auc_by_user: dict[str, Number] | None = None
    stratified_auc: Share | None = None  # among rows with equal numbers of liked and of disliked titles
    stratified_pairs: int = 0
    spearman_liked_ratio: Number | None = None  # of the score with liked-ratio
    accuracy: Number | None = None
    log_loss: Number | None = None
    calibration_bins: list[Bin] | None = None  # [rows, mean probability, share of Yes]; None for other scores
    calibration_error: Number | None = None
    auc_published_score: Number | None = None
    ranking_k: int | None = None  # of a ranking: its cut-off, hit rate and NDCG of the liked targets
    hit_rate: Share | None = None
    ndcg: Share | None = None
    hit_rate_interval_users: Interval | None = None  # over users
    ndcg_interval_users: Interval | None = None
    warm: SubsetMetrics | None = None  # rows whose user and item are the user and the target of training rows
    cold: SubsetMetrics | None = None  # the others; both None where there are no users, or one kind of rows only

    @model_validator(mode="after")
    def _check_interval_rule(self) -> "Metrics":
        if not self.interval_rule and any(getattr(self, name) for name in Metrics.model_fields if "_interval" in name):
            raise ValueError("interval_rule is missing beside an interval")
        return self

    @property
    def auc_interval(self) -> list[float] | None:
        """Over users; over rows where users are unknown. Rows of few known users are no substitute for more users."""
        return self.auc_interval_rows if self.users is None and not self.uauc_users else self.auc_interval_users


class TestSplit(_Schema):
    """The test file."""

    path: str  # relative to TLREC_HOME where it lies under it, as all paths of a record
    sha256: str
    sampled_with_seed: int | None = None  # None: all of its rows


class AdapterDescription(_Schema):
    """The adapter of a language model: its folder, and what its manifest says of it (None without one)."""

    path: str
    data: dict[str, dict[str, Any] | None] | None = None  # train and valid: path, rows, sha256
    arguments: dict[str, Any] | None = None
    stages: list[dict[str, Any]] = []  # Manifest.stages: what determined the weights, first to last; empty: not known


class EvaluationRecord(_Schema):
    """One system's figures on one test set."""

    run_id: Name
    time: str  # ISO 8601, UTC
    experiment: Name | None = None  # a name that the user gave
    system: Name  # its name in tables
    method: str  # llm, api, baseline, a control's name, or ranking
    base_model: Name | None  # None where no language model was scored
    base_model_commit: str | None = None  # of its repository on the Hub, where it came from there
    chain: list[Name]  # a language model's tuning stages, first to last
    rows_of_chain: list[int | None] | None = None  # their training rows, where they are known
    shots: int | None  # rows of the target domain it was tuned on, or shown in its prompt
    seed: int | None  # of the last tuning
    train_domain: str | None = None  # of the last tuning
    test_domain: Name
    test_data: TestSplit
    metrics: Metrics
    tuning_seconds: Number  # of all stages
    seconds: Number  # of the evaluation
    # CSV beside runs.jsonl: row, user_id, label and scores
    predictions: Annotated[str, Field(pattern=r"^predictions/[\w.-]+$")] | None = None
    predictions_sha256: str | None = None
    adapter: AdapterDescription | None = None
    request: dict[str, Any]  # what determines the figures: an equal request is the same run
    arguments: dict[str, Any]  # the evaluation's flags
    commands: list[str]  # that make the run again in TLREC_HOME, first to last
    commit: str | None = None
    versions: dict[str, str | None]  # of Python packages
    folder: Path = Field(default=Path(), exclude=True)  # set by the reader: the record file's, above `predictions`

    @model_validator(mode="after")
    def _check_rows_of_chain(self) -> "EvaluationRecord":
        if self.rows_of_chain is not None and len(self.rows_of_chain) != len(self.chain):
            raise ValueError("rows_of_chain has another length than chain")
        return self

    @property
    def chain_with_rows(self) -> list[tuple[str, int | None]]:
        """(name, rows) of the tuning stages, first to last; rows None where they are not known."""
        return list(zip(self.chain, self.rows_of_chain or [None] * len(self.chain), strict=True))


def chain_name(base_model: str, stages: Iterable[tuple[str, int | None]]) -> str:
    """A tuned model's name in tables, from (name, rows) of its stages: `smollm2-135m + netflix (512 rows)`; rows None
    where they are not known."""
    return " + ".join([base_model, *(name if rows is None else f"{name} ({rows:,} rows)" for name, rows in stages)])
