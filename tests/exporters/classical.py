# SPDX-License-Identifier: Apache-2.0
"""Classical models, trained here and exported by skl2onnx and onnxmltools, compiled, against the framework's own
predictions and onnxruntime.

    classical.py --build build [--long] [--list] [NAME...]

A family is an estimator or transformer with a set of parameters. One that the exporter cannot write, or that
onnxruntime cannot run, is named as such and not counted; one that cnncc refuses must be in expected.txt with its
reason, and a listed one must not pass. --long trains on more data, with several seeds. Closes with
'N passed, N failed, N skipped'.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx

warnings.filterwarnings("ignore")

import onnxruntime as ort  # noqa: E402
import sklearn.base  # noqa: E402
from skl2onnx import to_onnx  # noqa: E402
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType  # noqa: E402
from sklearn import (  # noqa: E402
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    kernel_approximation,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    random_projection,
    svm,
    tree,
)

make_attribute = onnx.helper.make_attribute


def whole_numbers(key, value, *args, **more):
    """skl2onnx hands lists of booleans on, which newer protobuf does not take as integers."""
    if isinstance(value, list | np.ndarray) and any(isinstance(v, bool | np.bool_) for v in value):
        value = [int(v) for v in value]
    return make_attribute(key, value, *args, **more)


onnx.helper.make_attribute = whole_numbers
ort.set_default_logger_severity(4)
HERE = pathlib.Path(__file__).resolve().parent
FAMILIES = {}
TEXT = ["The first document is short", "this one, the second document, is longer than the first one", "and a third: naïve café — élan",
        "is this the last of the documents?", "numbers 1 22 333 and under_scores", "Repeated repeated REPEATED words words", "x", ""]


def family(name, **options):
    def add(f):
        FAMILIES[name] = (f, options)
        return f

    return add


def simple(group, make, **options):
    for name, build in make.items():
        FAMILIES[f"{group}/{name}"] = ((lambda r, n, b=build, g=group: (b(), *DATA[g](r, n))), options)


def blobs(r, n, classes=3, features=5):
    y = r.integers(0, classes, n)
    y[:classes] = range(classes)
    centre = np.random.default_rng(5).normal(0, 1.5, (classes, features))
    return (centre[y] + r.normal(0, 1, (n, features))).astype(np.float32), y


def line(r, n):
    x = r.normal(0, 1, (n, 5)).astype(np.float32)
    return x, x @ np.array([1.5, -2, 0, 0.7, 3.0]) + np.sin(2 * x[:, 0]) + r.normal(0, 0.1, n) + 4


def positive(r, n):
    x, y = blobs(r, n)
    return np.abs(x).astype(np.float32), y


DATA = {
    "classifier": blobs,
    "binary": lambda r, n: blobs(r, n, 2),
    "labels": lambda r, n: (lambda x, y: (x, np.array(["ant", "bée", "cat"])[y]))(*blobs(r, n)),
    "regressor": line,
    "counts": lambda r, n: (lambda x, y: (x, np.exp(np.clip(y / 4, -2, 2))))(*line(r, n)),
    "targets": lambda r, n: (lambda x, y: (x, np.stack([y, y**2, x[:, 0]], 1)))(*line(r, n)),
    "positive": positive,
    "multilabel": lambda r, n: (lambda x, y: (x, np.stack([y == 0, y != 1, x[:, 0] > 0], 1).astype(int)))(*blobs(r, n)),
    "transformer": blobs,
    "outlier": blobs,
    "cluster": blobs,
}

lm, ens, nb, nn = linear_model, ensemble, neighbors, neural_network
CLASSIFIERS = {
    "LogisticRegression": lambda: lm.LogisticRegression(max_iter=500),
    "LogisticRegressionCV": lambda: lm.LogisticRegressionCV(Cs=3, cv=2, max_iter=300),
    "RidgeClassifier": lm.RidgeClassifier,
    "RidgeClassifierCV": lm.RidgeClassifierCV,
    "SGDClassifier": lambda: lm.SGDClassifier(random_state=1),
    "SGDClassifier_log": lambda: lm.SGDClassifier(loss="log_loss", random_state=1),
    "Perceptron": lambda: lm.Perceptron(random_state=1),
    "PassiveAggressive": lambda: lm.PassiveAggressiveClassifier(random_state=1),
    "LinearSVC": lambda: svm.LinearSVC(random_state=1),
    "SVC_rbf": lambda: svm.SVC(),
    "SVC_linear": lambda: svm.SVC(kernel="linear"),
    "SVC_poly": lambda: svm.SVC(kernel="poly", degree=3, coef0=0.5),
    "SVC_sigmoid": lambda: svm.SVC(kernel="sigmoid", gamma=0.05),
    "SVC_probability": lambda: svm.SVC(probability=True, random_state=1),
    "NuSVC": lambda: svm.NuSVC(nu=0.3),
    "NuSVC_probability": lambda: svm.NuSVC(nu=0.3, probability=True, random_state=1),
    "DecisionTree": lambda: tree.DecisionTreeClassifier(max_depth=5, random_state=1),
    "ExtraTree": lambda: tree.ExtraTreeClassifier(random_state=1),
    "RandomForest": lambda: ens.RandomForestClassifier(20, random_state=1),
    "ExtraTrees": lambda: ens.ExtraTreesClassifier(20, random_state=1),
    "GradientBoosting": lambda: ens.GradientBoostingClassifier(n_estimators=15, random_state=1),
    "HistGradientBoosting": lambda: ens.HistGradientBoostingClassifier(max_iter=15, random_state=1),
    "AdaBoost": lambda: ens.AdaBoostClassifier(n_estimators=10, random_state=1),
    "Bagging": lambda: ens.BaggingClassifier(n_estimators=5, random_state=1),
    "Bagging_linear": lambda: ens.BaggingClassifier(lm.LogisticRegression(), n_estimators=4, random_state=1),
    "Voting_soft": lambda: ens.VotingClassifier([("a", lm.LogisticRegression()), ("b", nb_gauss())], voting="soft", flatten_transform=False),
    "Voting_hard": lambda: ens.VotingClassifier([("a", lm.LogisticRegression()), ("b", nb_gauss())], voting="hard", flatten_transform=False),
    "Stacking": lambda: ens.StackingClassifier([("a", lm.LogisticRegression()), ("b", tree.DecisionTreeClassifier(max_depth=3))]),
    "KNeighbors": lambda: nb.KNeighborsClassifier(4),
    "KNeighbors_distance": lambda: nb.KNeighborsClassifier(4, weights="distance"),
    "KNeighbors_manhattan": lambda: nb.KNeighborsClassifier(3, metric="manhattan"),
    "RadiusNeighbors": lambda: nb.RadiusNeighborsClassifier(4.0, outlier_label=0),
    "NearestCentroid": nb.NearestCentroid,
    "NCA": lambda: pipeline.make_pipeline(nb.NeighborhoodComponentsAnalysis(2, random_state=1, max_iter=5), nb.KNeighborsClassifier(3)),
    "GaussianNB": naive_bayes.GaussianNB,
    "BernoulliNB": naive_bayes.BernoulliNB,
    "LDA": discriminant_analysis.LinearDiscriminantAnalysis,
    "QDA": discriminant_analysis.QuadraticDiscriminantAnalysis,
    "MLP": lambda: nn.MLPClassifier((12, 6), max_iter=60, random_state=1),
    "MLP_tanh": lambda: nn.MLPClassifier((8,), activation="tanh", max_iter=60, random_state=1),
    "MLP_logistic": lambda: nn.MLPClassifier((8,), activation="logistic", max_iter=60, random_state=1),
    "OneVsRest": lambda: multiclass.OneVsRestClassifier(lm.LogisticRegression()),
    "OneVsOne": lambda: multiclass.OneVsOneClassifier(lm.LogisticRegression()),
    "OutputCode": lambda: multiclass.OutputCodeClassifier(lm.LogisticRegression(), code_size=2, random_state=1),
    "Calibrated_sigmoid": lambda: calibration.CalibratedClassifierCV(lm.LogisticRegression(), cv=2),
    "Calibrated_isotonic": lambda: calibration.CalibratedClassifierCV(lm.LogisticRegression(), cv=2, method="isotonic"),
    "GaussianProcess": lambda: gaussian_process.GaussianProcessClassifier(optimizer=None),
    "GridSearchCV": lambda: model_selection.GridSearchCV(lm.LogisticRegression(), {"C": [0.1, 1]}, cv=2),
    "RandomizedSearchCV": lambda: model_selection.RandomizedSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [2, 4]}, n_iter=2, cv=2, random_state=1),
    "Dummy": dummy.DummyClassifier,
    "SelfTraining": lambda: __import__("sklearn.semi_supervised").semi_supervised.SelfTrainingClassifier(lm.LogisticRegression()),
}


def nb_gauss():
    return naive_bayes.GaussianNB()


k = gaussian_process.kernels
REGRESSORS = {
    "LinearRegression": lm.LinearRegression, "Ridge": lm.Ridge, "RidgeCV": lm.RidgeCV, "Lasso": lambda: lm.Lasso(0.05), "LassoCV": lambda: lm.LassoCV(cv=2),
    "LassoLars": lambda: lm.LassoLars(0.05), "LassoLarsCV": lambda: lm.LassoLarsCV(cv=2), "LassoLarsIC": lm.LassoLarsIC, "Lars": lm.Lars, "LarsCV": lambda: lm.LarsCV(cv=2),
    "ElasticNet": lambda: lm.ElasticNet(0.05), "ElasticNetCV": lambda: lm.ElasticNetCV(cv=2), "BayesianRidge": lm.BayesianRidge, "ARD": lm.ARDRegression,
    "Huber": lm.HuberRegressor, "TheilSen": lambda: lm.TheilSenRegressor(random_state=1), "RANSAC": lambda: lm.RANSACRegressor(random_state=1),
    "OMP": lm.OrthogonalMatchingPursuit, "OMPCV": lambda: lm.OrthogonalMatchingPursuitCV(cv=2), "SGD": lambda: lm.SGDRegressor(random_state=1),
    "PassiveAggressive": lambda: lm.PassiveAggressiveRegressor(random_state=1), "Quantile": lambda: lm.QuantileRegressor(solver="highs"),
    "LinearSVR": lambda: svm.LinearSVR(random_state=1), "SVR_rbf": svm.SVR, "SVR_linear": lambda: svm.SVR(kernel="linear"),
    "SVR_poly": lambda: svm.SVR(kernel="poly", coef0=1), "SVR_sigmoid": lambda: svm.SVR(kernel="sigmoid", gamma=0.05), "NuSVR": svm.NuSVR,
    "DecisionTree": lambda: tree.DecisionTreeRegressor(max_depth=5, random_state=1), "ExtraTree": lambda: tree.ExtraTreeRegressor(random_state=1),
    "RandomForest": lambda: ens.RandomForestRegressor(15, random_state=1), "ExtraTrees": lambda: ens.ExtraTreesRegressor(15, random_state=1),
    "GradientBoosting": lambda: ens.GradientBoostingRegressor(n_estimators=15, random_state=1),
    "HistGradientBoosting": lambda: ens.HistGradientBoostingRegressor(max_iter=15, random_state=1),
    "AdaBoost": lambda: ens.AdaBoostRegressor(n_estimators=8, random_state=1), "Bagging": lambda: ens.BaggingRegressor(n_estimators=5, random_state=1),
    "Voting": lambda: ens.VotingRegressor([("a", lm.LinearRegression()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
    "Stacking": lambda: ens.StackingRegressor([("a", lm.LinearRegression()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
    "KNeighbors": lambda: nb.KNeighborsRegressor(4), "KNeighbors_distance": lambda: nb.KNeighborsRegressor(4, weights="distance"),
    "RadiusNeighbors": lambda: nb.RadiusNeighborsRegressor(4.0), "MLP": lambda: nn.MLPRegressor(hidden_layer_sizes=(12, 6), max_iter=60, random_state=1),
    "PLS": lambda: cross_decomposition.PLSRegression(2),
    "GP_rbf": lambda: gaussian_process.GaussianProcessRegressor(k.RBF(2.0), alpha=0.1, optimizer=None),
    "GP_matern": lambda: gaussian_process.GaussianProcessRegressor(k.ConstantKernel(2.0) * k.Matern(2.0, nu=1.5) + k.WhiteKernel(0.1), alpha=0.1, optimizer=None),
    "GP_quadratic": lambda: gaussian_process.GaussianProcessRegressor(k.RationalQuadratic() + k.DotProduct(), alpha=0.1, optimizer=None),
    "GP_sine": lambda: gaussian_process.GaussianProcessRegressor(k.ExpSineSquared(1.0, 3.0), alpha=50.0, optimizer=None),
    "TransformedTarget": lambda: compose.TransformedTargetRegressor(lm.LinearRegression(), transformer=preprocessing.StandardScaler()),
    "Isotonic": lambda: __import__("sklearn.isotonic").isotonic.IsotonicRegression(),
    "Dummy": dummy.DummyRegressor, "GridSearchCV": lambda: model_selection.GridSearchCV(lm.Ridge(), {"alpha": [0.1, 1]}, cv=2),
}
pp, fs = preprocessing, feature_selection
TRANSFORMERS = {
    "StandardScaler": pp.StandardScaler, "StandardScaler_mean": lambda: pp.StandardScaler(with_std=False), "MinMaxScaler": pp.MinMaxScaler,
    "MinMaxScaler_clip": lambda: pp.MinMaxScaler(clip=True), "MaxAbsScaler": pp.MaxAbsScaler, "RobustScaler": pp.RobustScaler,
    "Normalizer": pp.Normalizer, "Normalizer_l1": lambda: pp.Normalizer("l1"), "Normalizer_max": lambda: pp.Normalizer("max"),
    "Binarizer": lambda: pp.Binarizer(threshold=0.3), "KBins_onehot": lambda: pp.KBinsDiscretizer(4, encode="onehot-dense"),
    "KBins_ordinal": lambda: pp.KBinsDiscretizer(4, encode="ordinal"), "PolynomialFeatures": lambda: pp.PolynomialFeatures(2),
    "PowerTransformer": pp.PowerTransformer, "QuantileTransformer": lambda: pp.QuantileTransformer(n_quantiles=20),
    "SplineTransformer": lambda: pp.SplineTransformer(4), "FunctionTransformer": pp.FunctionTransformer,
    "KernelCenterer": lambda: pipeline.make_pipeline(kernel_approximation.Nystroem(n_components=4, random_state=1), pp.StandardScaler()),
    "SimpleImputer": impute.SimpleImputer, "SimpleImputer_median": lambda: impute.SimpleImputer(strategy="median"), "KNNImputer": lambda: impute.KNNImputer(n_neighbors=3),
    "MissingIndicator": impute.MissingIndicator, "PCA": lambda: decomposition.PCA(3), "PCA_whiten": lambda: decomposition.PCA(2, whiten=True),
    "IncrementalPCA": lambda: decomposition.IncrementalPCA(3), "KernelPCA": lambda: decomposition.KernelPCA(3, kernel="rbf"), "TruncatedSVD": lambda: decomposition.TruncatedSVD(3),
    "FastICA": lambda: decomposition.FastICA(3, random_state=1), "GaussianRandomProjection": lambda: random_projection.GaussianRandomProjection(3, random_state=1),
    "LDA": lambda: discriminant_analysis.LinearDiscriminantAnalysis(n_components=2), "SelectKBest": lambda: fs.SelectKBest(k=3),
    "SelectPercentile": lambda: fs.SelectPercentile(percentile=50), "SelectFpr": lambda: fs.SelectFpr(), "SelectFdr": lambda: fs.SelectFdr(), "SelectFwe": lambda: fs.SelectFwe(),
    "GenericUnivariateSelect": lambda: fs.GenericUnivariateSelect(mode="k_best", param=2), "SelectFromModel": lambda: fs.SelectFromModel(tree.DecisionTreeClassifier(random_state=1)),
    "VarianceThreshold": lambda: fs.VarianceThreshold(0.5), "RFE": lambda: fs.RFE(lm.LogisticRegression(), n_features_to_select=2), "RFECV": lambda: fs.RFECV(lm.LogisticRegression(), cv=2),
    "FeatureUnion": lambda: pipeline.make_union(pp.StandardScaler(), decomposition.PCA(2)), "Pipeline": lambda: pipeline.make_pipeline(pp.StandardScaler(), pp.MinMaxScaler()),
    "ColumnTransformer": lambda: compose.ColumnTransformer([("a", pp.StandardScaler(), [0, 1]), ("b", pp.MinMaxScaler(), [2, 4])], remainder="passthrough"),
    "RandomTreesEmbedding": lambda: ens.RandomTreesEmbedding(5, random_state=1, sparse_output=False),
}
CLUSTERS = {"KMeans": lambda: cluster.KMeans(3, random_state=1, n_init=2), "MiniBatchKMeans": lambda: cluster.MiniBatchKMeans(3, random_state=1, n_init=2),
            "GaussianMixture": lambda: mixture.GaussianMixture(3, random_state=1), "GaussianMixture_diag": lambda: mixture.GaussianMixture(3, covariance_type="diag", random_state=1),
            "GaussianMixture_tied": lambda: mixture.GaussianMixture(3, covariance_type="tied", random_state=1),
            "BayesianGaussianMixture": lambda: mixture.BayesianGaussianMixture(n_components=3, random_state=1)}
OUTLIERS = {"IsolationForest": lambda: ens.IsolationForest(n_estimators=20, random_state=1), "OneClassSVM": lambda: svm.OneClassSVM(nu=0.2), "SGDOneClassSVM": lambda: lm.SGDOneClassSVM(random_state=1),
            "LocalOutlierFactor": lambda: nb.LocalOutlierFactor(novelty=True)}
simple("classifier", CLASSIFIERS)
simple("binary", CLASSIFIERS)
simple("labels", {n: CLASSIFIERS[n] for n in ("LogisticRegression", "DecisionTree", "RandomForest", "SVC_probability", "KNeighbors", "LinearSVC", "GaussianNB", "MLP", "OneVsRest")})
simple("regressor", REGRESSORS)
simple("counts", {"Poisson": lm.PoissonRegressor, "Gamma": lm.GammaRegressor, "Tweedie": lambda: lm.TweedieRegressor(power=1.5)})
simple("targets", {"LinearRegression": lm.LinearRegression, "Ridge": lm.Ridge, "DecisionTree": lambda: tree.DecisionTreeRegressor(max_depth=4), "RandomForest": lambda: ens.RandomForestRegressor(8, random_state=1),
                   "KNeighbors": lambda: nb.KNeighborsRegressor(3), "MLP": lambda: nn.MLPRegressor(hidden_layer_sizes=(8,), max_iter=60, random_state=1), "MultiOutput": lambda: multioutput.MultiOutputRegressor(lm.Ridge()),
                   "MultiTaskLasso": lambda: lm.MultiTaskLasso(0.05), "MultiTaskElasticNet": lambda: lm.MultiTaskElasticNet(0.05), "RegressorChain": lambda: multioutput.RegressorChain(lm.Ridge()),
                   "PLS": lambda: cross_decomposition.PLSRegression(2)})
simple("positive", {"MultinomialNB": naive_bayes.MultinomialNB, "ComplementNB": naive_bayes.ComplementNB, "BernoulliNB": lambda: naive_bayes.BernoulliNB(binarize=1.0)})
simple("multilabel", {"MultiOutput": lambda: multioutput.MultiOutputClassifier(lm.LogisticRegression()), "OneVsRest": lambda: multiclass.OneVsRestClassifier(lm.LogisticRegression()),
                      "DecisionTree": lambda: tree.DecisionTreeClassifier(max_depth=4), "RandomForest": lambda: ens.RandomForestClassifier(8, random_state=1),
                      "KNeighbors": lambda: nb.KNeighborsClassifier(3), "MLP": lambda: nn.MLPClassifier((8,), max_iter=60, random_state=1), "ClassifierChain": lambda: multioutput.ClassifierChain(lm.LogisticRegression())})
simple("transformer", TRANSFORMERS)
simple("cluster", CLUSTERS)
simple("outlier", OUTLIERS)
for _n in ("LogisticRegression", "DecisionTree", "RandomForest", "SVC_probability"):  # maps as outputs
    FAMILIES[f"zipmap/{_n}"] = ((lambda r, n, b=CLASSIFIERS[_n]: (b(), *blobs(r, n))), {"zipmap": True})
    FAMILIES[f"zipmap/{_n}_labels"] = ((lambda r, n, b=CLASSIFIERS[_n]: (b(), *DATA["labels"](r, n))), {"zipmap": True})


def texts(r, n):
    words = " ".join(TEXT).split()
    return np.array([" ".join(r.choice(words, r.integers(1, 12))) for _ in range(n)] + TEXT, object)


def text_family(name, make, with_labels=False):
    def build(r, n):
        x = texts(r, n)
        return make(), x, (np.arange(len(x)) % 3 if with_labels else None)

    FAMILIES["text/" + name] = (build, {"text": True})


fe = feature_extraction.text
text_family("CountVectorizer", fe.CountVectorizer)
text_family("CountVectorizer_bigrams", lambda: fe.CountVectorizer(ngram_range=(1, 2)))
text_family("CountVectorizer_binary", lambda: fe.CountVectorizer(binary=True))
text_family("CountVectorizer_stop", lambda: fe.CountVectorizer(stop_words=["the", "is"]))
text_family("CountVectorizer_case", lambda: fe.CountVectorizer(lowercase=False))
text_family("CountVectorizer_pattern", lambda: fe.CountVectorizer(token_pattern="[a-zA-Z]+"))
text_family("CountVectorizer_char", lambda: fe.CountVectorizer(analyzer="char", ngram_range=(1, 2)))
text_family("TfidfVectorizer", fe.TfidfVectorizer)
text_family("TfidfVectorizer_sublinear", lambda: fe.TfidfVectorizer(sublinear_tf=True))
text_family("TfidfVectorizer_l1", lambda: fe.TfidfVectorizer(norm="l1", use_idf=False))
text_family("TfidfVectorizer_trigrams", lambda: fe.TfidfVectorizer(ngram_range=(1, 3), max_features=60))
text_family("Pipeline_LogisticRegression", lambda: pipeline.make_pipeline(fe.TfidfVectorizer(), lm.LogisticRegression()), True)
text_family("Pipeline_MultinomialNB", lambda: pipeline.make_pipeline(fe.CountVectorizer(), naive_bayes.MultinomialNB()), True)
text_family("Pipeline_Tfidf_Transformer", lambda: pipeline.make_pipeline(fe.CountVectorizer(), fe.TfidfTransformer()), True)


def categories(r, n):
    return np.stack([r.choice(["red", "green", "blüe"], n), r.choice(["s", "m", "l", "xl"], n)], 1).astype(object)


def category_family(name, make, labels=None):
    def build(r, n):
        x = categories(r, n)
        x[:3, 0], x[:4, 1] = ["red", "green", "blüe"], ["s", "m", "l", "xl"]
        return make(), x, None if labels is None else np.arange(n) % labels

    FAMILIES["category/" + name] = (build, {"strings": True})


category_family("OneHotEncoder", lambda: pp.OneHotEncoder(sparse_output=False))
category_family("OneHotEncoder_ignore", lambda: pp.OneHotEncoder(handle_unknown="ignore", sparse_output=False))
category_family("OneHotEncoder_drop", lambda: pp.OneHotEncoder(drop="first", sparse_output=False))
category_family("OrdinalEncoder", pp.OrdinalEncoder)
category_family("OrdinalEncoder_unknown", lambda: pp.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1))
category_family("TargetEncoder", lambda: pp.TargetEncoder(), 2)
category_family("SimpleImputer_constant", lambda: impute.SimpleImputer(strategy="constant", fill_value="none", missing_values=""))
category_family("Pipeline_LogisticRegression", lambda: pipeline.make_pipeline(pp.OneHotEncoder(handle_unknown="ignore"), lm.LogisticRegression()), 3)


@family("category/LabelEncoder", strings=True, flat=True)
def _label_encoder(r, n):
    return pp.LabelEncoder(), categories(r, n)[:, 0], None


@family("category/LabelBinarizer", ints=True, flat=True)
def _label_binarizer(r, n):
    return pp.LabelBinarizer(), r.integers(0, 4, n), None


@family("category/OrdinalEncoder_ints", ints=True)
def _ordinal_ints(r, n):
    return pp.OrdinalEncoder(), r.integers(0, 5, (n, 2)), None


@family("category/OneHotEncoder_ints", ints=True)
def _onehot_ints(r, n):
    return pp.OneHotEncoder(sparse_output=False), r.integers(0, 5, (n, 2)), None


@family("category/CategoricalNB", ints=True)
def _categorical(r, n):
    x = r.integers(0, 4, (n, 3))
    return naive_bayes.CategoricalNB(), x, (x[:, 0] + x[:, 1]) % 3


@family("category/FeatureHasher", strings=True)
def _hasher(r, n):
    return feature_extraction.FeatureHasher(8, input_type="string", alternate_sign=True), categories(r, n), None


def boosters():
    """XGBoost and LightGBM by onnxmltools, where they are installed."""
    try:
        import xgboost
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # noqa: F401

        for name, make, data in (
            ("XGBClassifier", lambda: xgboost.XGBClassifier(n_estimators=12, max_depth=4), blobs),
            ("XGBClassifier_binary", lambda: xgboost.XGBClassifier(n_estimators=12, max_depth=4), DATA["binary"]),
            ("XGBRegressor", lambda: xgboost.XGBRegressor(n_estimators=12, max_depth=4), line),
            ("XGBRegressor_linear", lambda: xgboost.XGBRegressor(n_estimators=12, booster="gblinear"), line),
            ("XGBRegressor_dart", lambda: xgboost.XGBRegressor(n_estimators=8, booster="dart"), line),
            ("XGBRegressor_poisson", lambda: xgboost.XGBRegressor(n_estimators=8, objective="count:poisson"), DATA["counts"]),
            ("XGBRFClassifier", lambda: xgboost.XGBRFClassifier(n_estimators=8), DATA["binary"]),
            ("XGBRFRegressor", lambda: xgboost.XGBRFRegressor(n_estimators=8), line),
        ):
            FAMILIES["xgboost/" + name] = ((lambda r, n, m=make, d=data: (m(), *d(r, n))), {"tool": "xgboost"})
    except ImportError:
        yield "xgboost is not installed"
    try:
        import lightgbm
        from onnxmltools.convert import convert_lightgbm  # noqa: F401

        small = {"n_estimators": 12, "min_child_samples": 5, "verbose": -1}
        for name, make, data in (
            ("LGBMClassifier", lambda: lightgbm.LGBMClassifier(**small), blobs),
            ("LGBMClassifier_binary", lambda: lightgbm.LGBMClassifier(**small), DATA["binary"]),
            ("LGBMClassifier_ova", lambda: lightgbm.LGBMClassifier(objective="multiclassova", **small), blobs),
            ("LGBMRegressor", lambda: lightgbm.LGBMRegressor(**small), line),
            ("LGBMRegressor_poisson", lambda: lightgbm.LGBMRegressor(objective="poisson", **small), DATA["counts"]),
            ("LGBMRegressor_dart", lambda: lightgbm.LGBMRegressor(boosting_type="dart", **small), line),
            ("LGBMRegressor_rf", lambda: lightgbm.LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **small), line),
        ):
            FAMILIES["lightgbm/" + name] = ((lambda r, n, m=make, d=data: (m(), *d(r, n))), {"tool": "lightgbm"})
    except ImportError:
        yield "lightgbm is not installed"


# ---- one family -------------------------------------------------------------------------------------


def export(model, x, opt):
    if opt.get("tool") == "xgboost":
        from onnxmltools import convert_xgboost
        from onnxmltools.convert.common.data_types import FloatTensorType as F

        return convert_xgboost(model, initial_types=[("X", F([None, x.shape[1]]))], target_opset=15)
    if opt.get("tool") == "lightgbm":
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType as F

        return convert_lightgbm(model, initial_types=[("X", F([None, x.shape[1]]))], zipmap=False, target_opset=15)
    width = [] if x.ndim == 1 and not (opt.get("flat") or opt.get("text")) else [None] if opt.get("flat") and x.ndim == 1 else [None, 1 if x.ndim == 1 else x.shape[1]]
    kind = StringTensorType if opt.get("text") or opt.get("strings") else Int64TensorType if opt.get("ints") else FloatTensorType
    options = {"zipmap": False} if sklearn.base.is_classifier(model) and not opt.get("zipmap") else None
    if options and not hasattr(model, "predict_proba") and not hasattr(model, "decision_function"):
        options = None
    base = getattr(model, "_baseline_prediction", None)
    if base is not None:  # newer scikit-learn has a matrix, which the exporter does not expect
        model._baseline_prediction = base.ravel() if base.size > 1 else base.item()
    opsets = {"": 18, "ai.onnx.ml": 3}
    try:
        onx = to_onnx(model, initial_types=[("X", kind(width))], options=options and {id(model): options}, target_opset=opsets)
    except NameError:  # an operator without that option
        onx = to_onnx(model, initial_types=[("X", kind(width))], target_opset=opsets)
    if base is not None:
        model._baseline_prediction = base
    return onx


def own_predictions(model, x, outputs):
    """The framework's word on some of the outputs, by position."""
    if hasattr(model, "predict") and (sklearn.base.is_classifier(model) or sklearn.base.is_regressor(model) or hasattr(model, "labels_") or hasattr(model, "means_")
                                      or sklearn.base.is_outlier_detector(model)):
        own = [model.predict(x)]
        if sklearn.base.is_classifier(model) and hasattr(model, "predict_proba"):
            try:
                own.append(model.predict_proba(x))
            except AttributeError:
                pass
        return own
    if isinstance(model, pp.LabelEncoder | pp.LabelBinarizer) or hasattr(model, "transform"):
        y = model.transform(x)
        return [y.toarray() if hasattr(y, "toarray") else np.asarray(y)]
    return []


def flat(v):
    """Maps and lists as arrays."""
    if isinstance(v, list) and v and isinstance(v[0], dict):
        return np.array([[d[key] for key in sorted(d)] for d in v])
    if isinstance(v, list):
        return np.stack([np.asarray(a) for a in v]) if v else np.array([])
    return np.asarray(v)


def difference(want, got, share=0.0):
    """Greatest difference in parts of the range; labels: the part that differs."""
    want, got = flat(want), flat(got)
    if want.size == got.size and want.shape != got.shape:
        got = got.reshape(want.shape)
    if want.shape != got.shape:
        return np.inf
    if want.dtype.kind not in "fiub" or got.dtype.kind not in "fiub":
        return float(np.mean(want.astype(str) != got.astype(str))) if want.size else 0.0
    want, got = want.astype(np.float64), got.astype(np.float64)
    ok = np.isfinite(want)
    if not np.array_equal(want[~ok], got[~ok], equal_nan=True) or not ok.any():
        return 0.0 if not ok.any() or np.array_equal(want[~ok], got[~ok], equal_nan=True) else np.inf
    span = max(np.ptp(want[ok]), abs(want[ok]).max(), 1e-12)
    bad = abs(want[ok] - got[ok]) / span
    return float(np.sort(bad)[max(0, int(len(bad) * (1 - share)) - 1)]) if share else float(bad.max())


def load(folder, name):
    base = folder / re.sub(r"^\.", "_", name.replace("/", "_"))
    if (folder / f"{base.name}.npy").is_file():
        return np.load(f"{base}.npy", allow_pickle=True)
    from onnx import numpy_helper

    for cls, read in ((onnx.SequenceProto, None), (onnx.TensorProto, numpy_helper.to_array)):
        path = pathlib.Path(f"{base}.pb")
        if read is None:
            try:
                seq = cls.FromString(path.read_bytes())
                if seq.map_values:
                    return [numpy_helper.to_dict(m) for m in seq.map_values]
                if seq.tensor_values:
                    return [numpy_helper.to_array(t) for t in seq.tensor_values]
            except Exception:  # noqa: BLE001 - it is a tensor
                continue
        else:
            return read(cls.FromString(path.read_bytes()))
    raise ValueError(f"no output '{name}'")


def compiled_outputs(opt, onx, x, names, folder):
    from onnx import numpy_helper

    path = folder / "model.onnx"
    path.write_bytes(onx.SerializeToString())
    (folder / "x.pb").write_bytes(numpy_helper.from_array(x, "X").SerializeToString())
    env = dict(os.environ)
    if opt.cc:
        env["CC"] = opt.cc
    cmd = [os.path.join(opt.build, "cnncc-run"), str(path), "--input", f"X={folder}/x.pb", "--output", str(folder / "out")]
    run = subprocess.run(cmd, capture_output=True, text=True, check=False, env=env, timeout=300)
    if run.returncode == 1:
        return None, " ".join(run.stderr.replace(str(path), "").split())[:260].lstrip(": ")
    if run.returncode:
        raise RuntimeError(f"cnncc-run ended with {run.returncode}: {run.stderr[-200:]}")
    return [load(folder / "out", n) for n in names], ""


def one(opt, name, seed, rows, folder):
    """(word, text): passed, wrong, refused, or no exporter and no reference."""
    build, options = FAMILIES[name]
    r = np.random.default_rng(seed)
    try:
        model, x, y = build(r, rows)
        if name.startswith("regressor/Isotonic"):
            x = x[:, :1]
        if "Imputer" in name and x.dtype == np.float32 or "Missing" in name:
            x = np.where(r.random(x.shape) < 0.15, np.nan, x).astype(np.float32)
        model.fit(x, y) if y is not None else model.fit(x)
        onx = export(model, x, options)
    except Exception as e:  # noqa: BLE001 - whatever the exporter raises
        return "no export", f"{type(e).__name__}: {' '.join(str(e).split())[:110]}"
    for n in onx.graph.node:
        if n.op_type == "StringNormalizer":  # a locale that every Debian has
            keep = [a for a in n.attribute if a.name != "locale"]
            del n.attribute[:]
            n.attribute.extend([*keep, onnx.helper.make_attribute("locale", "C.UTF-8")])
    try:
        session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        feed = x.reshape(-1, 1) if options.get("text") else x
        feed = feed.astype(object) if feed.dtype.kind in "UO" else feed
        want = session.run(None, {"X": feed})
    except Exception as e:  # noqa: BLE001 - there is no reference
        return "no reference", " ".join(str(e).split())[:110]
    got, why = compiled_outputs(opt, onx, feed, [o.name for o in session.get_outputs()], folder)
    if got is None:
        return "refused", why
    worst = max(difference(w, g) for w, g in zip(want, got, strict=True))
    text = f"{worst:.1e} from onnxruntime"
    tol = 1e-4 if "GaussianProcess" in name or "GP_" in name or "SVC" in name or "Quadratic" in name or "QDA" in name else 2e-5
    if worst > tol:
        return "wrong", text
    own = own_predictions(model, x, got)
    if own:
        ours = max(difference(o, g) for o, g in zip(own, got, strict=False))
        theirs = max(difference(o, w) for o, w in zip(own, want, strict=False))
        text += f", {ours:.1e} from the framework"
        if ours > max(1.5 * theirs, 1e-4):
            return "wrong", f"{text} (onnxruntime: {theirs:.1e})"
    return "passed", text


def read_expected():
    out = {}
    for row in (HERE / "expected.txt").read_text().splitlines():
        if row and not row.startswith("#"):
            name, _, reason = row.partition("\t")
            out[name] = reason
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--build", required=True)
    p.add_argument("--cc", default=shutil.which("tcc"))
    p.add_argument("--long", action="store_true")
    p.add_argument("--list", action="store_true", help="a line for each family, not only for those that do not pass")
    p.add_argument("name", nargs="*")
    opt = p.parse_args()
    opt.build = os.path.abspath(opt.build)
    for missing in boosters():
        print("note: " + missing)
    expected, passed, failed, skipped = read_expected(), 0, 0, 0
    for name in FAMILIES:
        if opt.name and not any(re.search(n, name) for n in opt.name):
            continue
        for seed in range(5 if opt.long else 1):
            with tempfile.TemporaryDirectory() as temp:
                try:
                    word, text = one(opt, name, seed + 1, 300 if opt.long else 60, pathlib.Path(temp))
                except Exception as e:  # noqa: BLE001 - a line a family, whatever happens
                    word, text = "wrong", f"{type(e).__name__}: {e}"
            if word != "passed" or seed == 4:
                break
        listed = expected.get(name, "")
        good = word == "passed" and not listed or listed.startswith(word + ":")
        if word.startswith("no "):
            skipped += 1
        elif good:
            passed += word == "passed"
            skipped += word != "passed"
        else:
            failed += 1
        if opt.list or not (word == "passed" and good):
            mark = "" if good or word.startswith("no ") else "FAILED "
            print(f"{mark}{word:12} {name:40} {text}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
