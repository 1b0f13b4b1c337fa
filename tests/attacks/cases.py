"""The cases of the threat model, and those that there is nothing to attack for yet."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "S01": "expression leaves its sandbox",
    "S02": "expression without end",
    "S03": "expression that allocates",
    "S04": "expression too long or too deep to compile",
    "S05": "expression includes a file",
    "S06": "what an expression gives is read again",
    "S07": "YAML and values that explode",
    "S08": "numbers beyond their bounds",
    "S09": "one tenant's thousands of objects, events and Helm actions",
    "S10": "chart archive with links, bombs, names that lead elsewhere",
    "S11": "template reads files of the host",
    "S12": "chart's schema makes Helm ask an address",
    "S13": "chart's template without end",
    "S14": "template looks up what it may not see",
    "S15": "chart brings rights, kinds, privileged pods or another namespace's objects",
    "S16": "hook without end, plugins, post-renderers",
    "S17": "chart or release takes over what is not its own",
    "S18": "chart from a forbidden address",
    "S19": "account empty, foreign or deceptive",
    "S20": "reference into another namespace",
    "S21": "forged records, labels and reports",
    "S22": "forged Jobs and pods of ours",
    "S23": "migration or probe made to mount or run something else",
    "S24": "operator's rights wider than its work",
    "S25": "http evidence led elsewhere",
    "S26": "credentials sent along",
    "S27": "query that reads another customer's series",
    "S28": "SQL beyond its one statement",
    "S29": "answers without end or of the wrong kind",
    "S30": "secret in what is written out",
    "S31": "secret in another encoding",
    "S32": "forged lines in logs, events and status",
    "S33": "metrics without bound",
    "S34": "formulas and markup in files that people open",
    "S35": "one object stops the operator",
    "S37": "object that will not go",
    "S38": "another chart than the one reviewed",
    "S39": "another package or image than the one looked at",
    "S40": "decision forged, borrowed, edited, deleted or gone around",
}
"""Case and what is tried."""

NOT_YET: Final = {
    "S36": "there is no admission webhook",
}
"""Case and why there is no attack on it."""
