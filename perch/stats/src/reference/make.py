"""Records streams and what published implementations say about them, for the tests in ../reference.rs.

confseq (Howard & Waudby-Smith) is the implementation of the authors of the confidence sequences, ssrm-test
(Optimizely) that of the author of the sequential sample ratio test. Run it in an environment with requirements.txt:

    python make.py > streams.json
"""

import json
import sys

import numpy as np
from confseq import betting, boundaries
from ssrm_test.ssrm_test import sequential_bayes_factors

# As in ../bounded.rs and ../ratio.rs.
LARGEST_STAKE, STAKE_RATIO, STAKES = 0.98, 2.0, 10
CONCENTRATIONS = [10, 100, 1_000, 10_000]

rng = np.random.default_rng(20261124)


def bets(m):
    """Constant bets against `the mean is at least m`, one for each stake: confseq's sign for its lower side."""
    stakes = [LARGEST_STAKE / STAKE_RATIO**k for k in range(STAKES)]
    return [lambda x, m, stake=stake: np.repeat(stake / (1 - m), len(x)) for stake in stakes]


def wealth_below(x, m):
    return betting.diversified_betting_mart(x, m, lambdas_fns_positive=bets(m), theta=0, trunc_scale=1)


def bounded(name, x, thresholds):
    looks = [10, 30, 100, 200, len(x)]
    alpha = 0.05
    lower, upper = betting.hedged_cs(x, alpha=alpha, running_intersection=False, breaks=2000)
    # The largest m on a fine grid that the same bets do not refute, at half of alpha.
    grid = np.linspace(0.0005, 0.9995, 2000)
    alive = np.array([wealth_below(x, m) < 2 / alpha for m in grid])
    return {
        "name": name,
        "values": [round(float(v), 6) for v in x],
        "looks": looks,
        "thresholds": thresholds,
        "log_wealth_below": [[float(np.log(wealth_below(x, m)[n - 1])) for n in looks] for m in thresholds],
        "upper_same_bets": [float(grid[alive[:, n - 1]].max()) for n in looks],
        "hedged": [[float(lower[n - 1]), float(upper[n - 1])] for n in looks],
    }


def agreement(requests, mean, correlation):
    """Items of one request share a chance of agreement."""
    weight = 1 / correlation - 1
    values = []
    for items in rng.choice([1, 2, 3, 5, 10], size=requests, p=[0.5, 0.2, 0.15, 0.1, 0.05]):
        chance = rng.beta(mean * weight, (1 - mean) * weight)
        values.append(rng.binomial(items, chance) / items)
    return np.round(np.array(values), 6)


def normal():
    rows = []
    for one_sided in [True, False]:
        for v_opt, alpha_opt in [(100.0, 0.05), (5000.0, 0.01)]:
            log = np.log(1 / (2 * alpha_opt if one_sided else alpha_opt))
            rho = v_opt / (2 * log + np.log(1 + 2 * log))
            for v in [50.0, 1000.0, 20000.0]:
                for z in [-1.0, 0.5, 2.0, 4.5]:
                    s = z * np.sqrt(v)
                    rows.append({
                        "one_sided": one_sided,
                        "variance": 1 / v,
                        "prior_variance": 1 / rho,
                        "estimate": s / v,
                        "log_mixture": float(boundaries.normal_log_mixture(s, v, v_opt, alpha_opt, one_sided)),
                        "alpha": 0.01,
                        "bound": float(boundaries.normal_mixture_bound(v, 0.01, v_opt, alpha_opt, one_sided)) / v,
                    })
    return rows


def ratio(name, users, share, wanted):
    model = rng.random(users) < share
    blocks = model.reshape(-1, 100).sum(axis=1)
    data = np.column_stack([blocks, 100 - blocks])
    null = np.array([wanted, 1 - wanted])
    factors = [sequential_bayes_factors(data, null, null, concentration) for concentration in CONCENTRATIONS]
    return {
        "name": name,
        "wanted": wanted,
        "model": np.cumsum(blocks).tolist(),
        "rule": np.cumsum(100 - blocks).tolist(),
        "log_bayes_factor": np.log(np.array(factors)).T.tolist(),
        "concentrations": CONCENTRATIONS,
    }


def users(count):
    """Users with habits: their feedbacks, and rate and variance by the definition of the delta method."""
    given = rng.integers(1, 8, size=count)
    accepted = rng.binomial(given, rng.beta(0.9, 0.6, size=count))
    rate = accepted.sum() / given.sum()
    residual = accepted - rate * given
    variance = np.sum((residual - residual.mean()) ** 2) / (count - 1) * count / given.sum() ** 2
    return {
        "given": given.tolist(),
        "accepted": accepted.tolist(),
        "rate": float(rate),
        "variance": float(variance),
    }


json.dump(
    {
        "made_with": {"confseq": "0.0.11", "ssrm-test": "0.1.5", "numpy": np.__version__},
        "bounded": [
            bounded("single items", (rng.random(400) < 0.8).astype(float), [0.85, 0.9, 0.95]),
            bounded("requests of correlated items", agreement(400, 0.8, 0.4), [0.85, 0.9, 0.95]),
            bounded("nothing wrong", agreement(400, 0.9, 0.4), [0.85, 0.9, 0.95]),
            bounded("rare", (rng.random(400) < 0.02).astype(float), [0.03, 0.1, 0.5]),
        ],
        "normal": normal(),
        "ratio": [
            ratio("as wanted", 3000, 0.1, 0.1),
            ratio("a fifth lost", 3000, 0.444, 0.5),
        ],
        "users": [users(50), users(500)],
    },
    sys.stdout,
    indent=1,
)
print()
