"""The form of an evaluation's record, looked at once, where a report reads it."""

from pathlib import Path

from tlrec.errors import InputError

REQUIRED_FIELDS = (
    "run_id",
    "time",
    "request",
    "system",
    "method",
    "base_model",
    "chain",
    "shots",
    "seed",
    "test_domain",
    "test_data",
    "metrics",
    "tuning_seconds",
    "seconds",
)  # what the reports read of an evaluation


def _number(value: object) -> bool:
    return value is None or type(value) in (int, float) and abs(value) < 1e300


def _pair(value: object) -> bool:
    return value is None or isinstance(value, list) and len(value) == 2 and all(one is not None and _number(one)
                                                                                for one in value)


def _text(value: object) -> bool:
    return isinstance(value, str)


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _counts_or_none(value: object) -> bool:
    return value is None or isinstance(value, list) and all(one is None or type(one) is int for one in value)


def _adapter(value: object) -> bool:
    arguments = (value.get("arguments") if isinstance(value, dict) else None) or {}
    return value is None or isinstance(value, dict) and _text(value.get("path")) and isinstance(arguments, dict) and (
        isinstance(value.get("data"), dict | None))


FIELD_TYPES = {  # of an evaluation's fields
    **dict.fromkeys(("run_id", "time", "system", "method", "test_domain"), _text),
    **dict.fromkeys(("base_model", "experiment", "predictions", "commit"), _text_or_none),
    **dict.fromkeys(("request", "metrics", "test_data", "arguments", "versions"), _object),
    **dict.fromkeys(("seconds", "tuning_seconds"), lambda value: value is not None and _number(value)),
    **dict.fromkeys(("shots", "seed"), _number),
    "chain": _texts,
    "rows_of_chain": _counts_or_none,
    "adapter": _adapter,
}
METRIC_TYPES = {
    **dict.fromkeys(("auc", "uauc", "stratified_auc", "spearman_liked_ratio"), _number),
    **dict.fromkeys(("auc_interval_users", "auc_interval_rows"), _pair),
    "n": lambda value: type(value) is int,
}


def validate_record(record: dict, path: Path, number: int) -> dict:
    """The record; InputError where it is an evaluation that lacks what every one has, or has it of another kind."""
    if record.get("kind") != "evaluation":
        return record
    lacking = [name for name in REQUIRED_FIELDS if name not in record]
    if lacking:
        raise InputError(f"{path}: line {number} is an evaluation without {lacking[0]!r}; remove that line")
    wrong = [name for name, right in FIELD_TYPES.items() if not right(record.get(name))]
    if not wrong:
        metrics, data, rows = record["metrics"], record["test_data"], record.get("rows_of_chain")
        wrong = [f"metrics.{name}" for name, right in METRIC_TYPES.items() if not right(metrics.get(name))]
        wrong += [f"test_data.{name}" for name in ("path", "sha256") if not _text(data.get(name))]
        wrong += ["rows_of_chain"] if rows is not None and len(rows) != len(record["chain"] or []) else []
    if wrong:
        raise InputError(f"{path}: line {number} is an evaluation whose {wrong[0]!r} is not as evaluations write it; "
                         "remove that line")
    return record
