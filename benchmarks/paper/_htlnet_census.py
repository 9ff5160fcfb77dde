"""The census-income table as impressions: rows of people, with discrete targets and an amount.

The two usual tasks are the income above 50,000 and whether somebody never married. They come
first, the second one as *ever married*, since nine in ten of those with such an income were: close
to a chain. The continuous target is the number of weeks worked in the year. Wages per hour and
capital gains are no better choice: they are 0 for more than nine tenths of the people, so that a
squared error is decided by a few rows.
"""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.paper._htlnet_cells import Study

# As the description of the public data set lists them
COLUMNS = (
    "age",
    "class_of_worker",
    "industry_code",
    "occupation_code",
    "education",
    "wage_per_hour",
    "enrolled_in_education",
    "marital_status",
    "major_industry",
    "major_occupation",
    "race",
    "hispanic_origin",
    "sex",
    "union_member",
    "reason_for_unemployment",
    "employment_status",
    "capital_gains",
    "capital_losses",
    "dividends",
    "tax_filer_status",
    "previous_region",
    "previous_state",
    "household_status",
    "household_summary",
    "instance_weight",
    "migration_in_msa",
    "migration_in_region",
    "migration_within_region",
    "same_house_a_year_ago",
    "previously_in_sunbelt",
    "employees_of_employer",
    "family_members_under_18",
    "birth_country_of_father",
    "birth_country_of_mother",
    "birth_country",
    "citizenship",
    "self_employed",
    "veterans_questionnaire",
    "veterans_benefits",
    "weeks_worked",
    "year",
    "income",
)
NUMERIC = ("age", "wage_per_hour", "capital_gains", "capital_losses", "dividends")
TARGETS = ("ever_married", "income_50k", "weeks_worked")
BATCH_SIZE = 4096  # twice as fast as the other logs' 1024; there are 80,000 rows to train on
# The weight of a row in the survey is no feature, and the answers are no features.
_NOT_FEATURES = ("instance_weight", "marital_status", "income", "weeks_worked")
_ITEM = "occupation_code"  # what is shared by few; the user is the same everywhere


def census(file: Path, work: Path, **settings: Any) -> Study:
    """Writes the table as impressions, once, and returns what is predicted of it."""
    path = work / "census-income.csv"
    table = pd.read_csv(file, header=None, names=list(COLUMNS), skipinitialspace=True)
    features = [name for name in COLUMNS if name not in (*_NOT_FEATURES, _ITEM)]
    if not path.exists():
        out = table[features].copy()
        out["item"], out["user"] = table[_ITEM], 0
        out["ever_married"] = (table["marital_status"] != "Never married").astype(int)
        out["income_50k"] = table["income"].str.startswith("50000+").astype(int)
        out["weeks_worked"] = table["weeks_worked"]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        out.to_csv(partial, index=False)
        partial.replace(path)
    return Study(
        "census",
        {
            "interactions": str(path),
            "targets": list(TARGETS),
            "categorical": [name for name in features if name not in NUMERIC],
            "numeric": list(NUMERIC),
            "split": "random",
            "batch_size": BATCH_SIZE,
            **settings,
        },
        random=True,
    )


def describe(file: Path) -> dict[str, Any]:
    """What a result has to say of the file."""
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    table = pd.read_csv(file, header=None, names=list(COLUMNS), skipinitialspace=True)
    rich = table["income"].str.startswith("50000+")
    married = table["marital_status"] != "Never married"
    weeks = table["weeks_worked"]
    return {
        "sha256": {file.name: sha256},
        "rows": len(table),
        # All 42 columns alike, as those of many children: some of them are in two parts of a split.
        "rows_repeated": int(table.duplicated().sum()),
        "ever_married": float(married.mean()),
        "income_50k": float(rich.mean()),
        "ever_married_given_income_50k": float(married[rich].mean()),
        "weeks_worked": {
            "mean": float(weeks.mean()),
            "zero": float((weeks == 0).mean()),
            "full_year": float((weeks == 52).mean()),
        },
        "zero": {name: float((table[name] == 0).mean()) for name in NUMERIC[1:]},
    }
