"""The model card, written from a run."""

from __future__ import annotations


def render(manifest: dict, judged: dict, unseen: dict | None, ablated: dict[str, float], result: dict) -> str:
    model, rules, span, made = judged["model"], judged["rules"], manifest["data_span"], manifest["model"]
    lines = [
        "# Model card",
        "",
        "Written by `make ml-train` (`models/train.py --card`); edits are overwritten by the next run.",
        "",
        f"Version `{manifest['version']}`, trained {manifest['created']}: "
        f"{'deployed' if result['deployed'] else 'not deployed'} ({result['reason']}).",
        "",
        "## What it is for",
        "",
        "Suggests a spending label for a payment, beside the rules of the reference application. Trained on the demo's",
        "generated payments: it shows the way, it is not a model for real statements. It sees merchant, memo, amount,",
        "channel, time and what the user filed before; no user id, no name, no account.",
        "",
        "## How good it is",
        "",
        "| split | rows | model, macro F1 | rules, macro F1 | model, right | rules, right | rules have an opinion |",
        "|---|---|---|---|---|---|---|",
        row("later in time", model, rules),
    ]
    if unseen:
        lines.append(row("brands never seen, later in time", unseen["model"], unseen["rules"]))
    lines += [
        "",
        f"Where the rules have an opinion, the model agrees on {judged['agreement_with_rules']:.1%}. "
        f"Expected calibration error {judged['calibration_error']:.3f}, after temperature {made['temperature']}.",
        "The rules' abstentions count as not right. Unseen brands are judged with a model trained without them.",
        *(f"Left out: {name}, since {why}." for name, why in manifest["metrics"]["left_out"].items()),
        *(
            [f"No validation row has the labels {', '.join(model['unjudged_labels'])}: nothing is known of them."]
            if model["unjudged_labels"]
            else []
        ),
        "",
        "| label | rows | precision | recall | F1 | rules' F1 |",
        "|---|---|---|---|---|---|",
    ]
    for name, of in model["per_class"].items():
        lines.append(
            f"| {name} | {of['rows']} | {of['precision']:.3f} | {of['recall']:.3f} | {of['f1']:.3f} "
            f"| {rules['per_class'][name]['f1']:.3f} |"
        )
    if ablated:
        full = ablated["nothing"]
        lines += [
            "",
            "## What the features are worth",
            "",
            f"Macro F1 without one group, at {manifest['params']['ablation']['rounds']} rounds ({full:.3f} with all). Without "
            "the embedding the trees see the n-grams themselves.",
            "",
            "| without | macro F1 | lost |",
            "|---|---|---|",
        ]
        for group, f1 in sorted(ablated.items(), key=lambda item: item[1]):
            if group != "nothing":
                lines.append(f"| {group} | {f1:.3f} | {full - f1:+.3f} |")
    lines += ["", "## Most frequent confusions", "", "| truth | said | rows |", "|---|---|---|"]
    lines += [f"| {truth} | {said} | {rows} |" for truth, said, rows in confusions(model, manifest["classes"])]
    lines += [
        "",
        "## Data and parameters",
        "",
        "| part | rows | from | to |",
        "|---|---|---|---|",
        *(f"| {part} | {of['rows']} | {of['from']} | {of['to']} |" for part, of in span.items()),
        "",
        f"{made['trees']} trees ({made['rounds']} rounds), {made['bytes'] / 1024:.0f} KiB, feature schema "
        f"{manifest['feature_schema']['version']} (`{manifest['feature_schema']['hash'][:12]}`, "
        f"{manifest['feature_schema']['width']} numbers a row). Parameters: `models/params.toml`, a copy in the manifest.",
        "The graph's probabilities differ from LightGBM's by at most "
        f"{manifest['metrics']['largest_difference']:.1e} on the validation rows, its labels on none.",
        "",
    ]
    return "\n".join(lines)


def row(name: str, model: dict, rules: dict) -> str:
    return (
        f"| {name} | {model['rows']} | **{model['f1_macro']:.3f}** | {rules['f1_macro']:.3f} "
        f"| {model['accuracy']:.1%} | {rules['accuracy']:.1%} | {rules['coverage']:.1%} |"
    )


def confusions(model: dict, classes: list[str], most: int = 10) -> list[tuple[str, str, int]]:
    cells = [
        (classes[truth], classes[said], count)
        for truth, counts in enumerate(model["confusion"])
        for said, count in enumerate(counts)
        if truth != said and count
    ]
    return sorted(cells, key=lambda cell: -cell[2])[:most]
