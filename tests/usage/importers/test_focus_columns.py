"""The column model says what the published models of FOCUS say."""

from __future__ import annotations

import csv
import json

from services.usage.service.importers.focus_columns import (
    CHARGE_CATEGORIES,
    CHARGE_CLASSES,
    SERVICE_CATEGORIES,
    FocusVersion,
    Level,
    columns_of,
    mandatory_columns,
    version_of,
)
from services.usage.service.importers.tables import Columns
from tests.support.shared import shared_path


def test_columns_of_1_2_are_those_of_the_specification() -> None:
    path = shared_path("focus", "reference", "focus_1_2_columns.csv")
    with path.open(encoding="utf-8") as file:
        published = {
            row["ColumnId"]: (row["FeatureLevel"], row["AllowsNulls"] == "True", row["DataType"])
            for row in csv.DictReader(file)
        }

    ours = {
        column.name: (column.level.value, column.is_nullable, column.content.value)
        for column in columns_of(FocusVersion.V1_2)
    }

    assert ours == published


def test_columns_of_1_4_are_those_of_the_published_model() -> None:
    path = shared_path("focus", "reference", "focus_1_4_model.json")
    model = json.loads(path.read_text())["datasets"]["Cost and Usage"]["columns"]

    ours = {
        column.name: (column.level is Level.MANDATORY, column.content.value)
        for column in columns_of(FocusVersion.V1_4)
    }
    nullable = {column.name: column.is_nullable for column in mandatory_columns(FocusVersion.V1_4)}

    assert ours == {
        name: (column["feature_level"] == "Mandatory", column["data_type"])
        for name, column in model.items()
    }
    assert nullable == {name: model[name]["allows_nulls"] for name in nullable}
    assert set(CHARGE_CATEGORIES) == set(model["ChargeCategory"]["allowed_values"])
    assert set(CHARGE_CLASSES) == set(model["ChargeClass"]["allowed_values"])
    assert set(SERVICE_CATEGORIES) == set(model["ServiceCategory"]["allowed_values"])


def test_each_version_counts_its_columns() -> None:
    counts = [len(columns_of(version)) for version in FocusVersion]
    mandatory = [len(mandatory_columns(version)) for version in FocusVersion]

    assert counts == [43, 50, 57, 65, 65]
    assert mandatory == [21, 21, 21, 23, 21]


def test_version_is_the_first_that_has_all_the_columns() -> None:
    for version in FocusVersion:
        header = Columns([column.name for column in columns_of(version)])

        assert version_of(header) is version
