"""Known bug patterns of operators and loaders (research/reliability.md, G13), each as a small change of our code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in `file`, below operator/pilotage, and becomes `new`. `killers` are tests that must fail."""

    name: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]


MUTANTS = (
    Mutant(
        "no uid precondition",
        "kube/official.py",
        'preconditions = {"uid": uid} | (',
        "preconditions = {} | (",
        ("tests/contract",),
    ),
    Mutant(
        "an update without the version that was read",
        "kube/official.py",
        '        if not metadata.get("resourceVersion"):\n',
        "        if False:\n",
        ("tests/contract",),
    ),
    Mutant(
        "an unsafe request is repeated",
        "kube/official.py",
        '"GET", "PUT"',
        '"GET", "POST", "PUT"',
        ("tests/unit/kube",),
    ),
    Mutant(
        "an empty account acts as the operator",
        "reconcile/context.py",
        "    if not service_account:\n",
        "    if False:\n",
        ("tests/unit/reconcile", "tests/simulation/test_changes.py", "tests/contract"),
    ),
    Mutant(
        "what is refused for ever is tried for ever",
        "kube/client.py",
        "{400, 413, 415, 422}",
        "{400, 415, 422}",
        ("tests/unit/kube", "tests/contract"),
    ),
    Mutant(
        "no fence after the Lease lapsed",
        "kube/lease.py",
        "return self._held is not None and self._monotonic()",
        "return False and self._monotonic()",
        ("tests/unit/kube",),
    ),
    Mutant(
        "a renewal counts from its answer",
        "kube/lease.py",
        "                self._renewed = sent\n",
        "                self._renewed = self._monotonic()\n",
        ("tests/unit/kube",),
    ),
    Mutant(
        "another's Lease is not waited for",
        "kube/lease.py",
        "if not free and now - self._seen[1] < duration:",
        "if not free and now - self._seen[1] < 0:",
        ("tests/unit/kube",),
    ),
    Mutant(
        "a status of an older generation counts",
        "plan/acceptance.py",
        'if status.get("observedGeneration", -1) != metadata.get("generation"):',
        "if False:",
        ("tests/unit/acceptance",),
    ),
    Mutant(
        "a verdict on another input counts",
        "plan/acceptance.py",
        'or not input_digest or track.get("subject") != input_digest:',
        "or False:",
        ("tests/unit/acceptance",),
    ),
    Mutant(
        "a gap counts as good time",
        "plan/acceptance_clock.py",
        "return min(gap, interval) if ZERO < gap <= 2 * interval else ZERO",
        "return max(gap, ZERO)",
        ("tests/unit/acceptance",),
    ),
    Mutant(
        "no data is green",
        "plan/acceptance_track.py",
        "return found.state is MetricState.GOOD and found.samples >= metric.min_samples",
        "return found.state is not MetricState.BREACHED",
        ("tests/unit/acceptance",),
    ),
    Mutant(
        "a restart keeps the chain of good samples",
        "plan/acceptance_track.py",
        'metric.model_copy(update={"last_good_at": None, "unsettled": None}) for metric in track.metrics]\n    return',
        "metric for metric in track.metrics]\n    return",
        ("tests/unit/acceptance",),
    ),
    Mutant(
        "a redirect is followed",
        "evidence/http.py",
        "allow_redirects=False",
        "allow_redirects=True",
        ("tests/unit/evidence",),
    ),
    Mutant(
        "a Service may lead anywhere",
        "evidence/http.py",
        '    if spec.get("type") == "ExternalName":\n',
        "    if False:\n",
        ("tests/unit/evidence",),
    ),
    Mutant(
        "links in a chart's archive",
        "delivery/archive.py",
        "if not (member.isfile() or member.isdir()) or member.issparse():",
        "if False:",
        ("tests/unit/delivery",),
    ),
    Mutant(
        "a chart's schema may refer to a file",
        "delivery/archive.py",
        'if isinstance(reference, str) and not reference.startswith("#"):',
        "if False:",
        ("tests/unit/delivery",),
    ),
    Mutant(
        "templates without a limit of memory",
        "render/child.py",
        "    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))\n",
        "",
        ("tests/unit/render",),
    ),
    Mutant(
        "an endless template is waited for",
        "render/renderer.py",
        "async with asyncio.timeout(WALL_SECONDS):",
        "async with asyncio.timeout(None):",
        ("tests/unit/render",),
    ),
    Mutant(
        "a secret's encoded forms are shown",
        "observability/redaction.py",
        "    for offset in range(3):\n        yield from _base64_forms(data, offset)\n",
        "",
        ("tests/unit/observability",),
    ),
    Mutant(
        "a failed input is tried again at once",
        "plan/delivery.py",
        "return ReleaseState.FAILED if final else ReleaseState.OUT_OF_DATE",
        "return ReleaseState.OUT_OF_DATE",
        ("tests/unit/delivery", "tests/simulation/test_changes.py"),
    ),
    Mutant(
        "a wave overtakes the one before",
        "plan/waves.py",
        "    if waves[module.name] > present:\n",
        "    if False:\n",
        ("tests/unit/plan", "tests/simulation/test_rollout.py"),
    ),
    Mutant(
        "a mutex that holds nobody",
        "plan/waves.py",
        "if obstacle is None and counts and holder:",
        "if False:",
        ("tests/unit/plan", "tests/simulation/test_rollout.py"),
    ),
    Mutant(
        "the finalizer goes before the releases",
        "plan/implementation.py",
        "    if not present and not removed:\n",
        "    if True:\n",
        ("tests/unit/plan", "tests/simulation/test_changes.py"),
    ),
    Mutant(
        "a foreign Job is taken for ours",
        "reconcile/migration_observe.py",
        "        return StageFacts(foreign=True)\n",
        "        pass\n",
        ("tests/unit/migration",),
    ),
    Mutant(
        "a chunk is not fenced",
        "migration/ledger.py",
        'return found == ("pending", held.attempt)',
        "return True",
        ("tests/migration/test_faults.py",),
    ),
    Mutant(
        "rows and ledger are committed apart",
        "migration/worker.py",
        "        with connection.transaction():\n            if not ledger.still_held",
        "        if True:\n            if not ledger.still_held",
        ("tests/migration/test_faults.py",),
    ),
    Mutant(
        "damaged bytes are replaced",
        "migration/encoding.py",
        "        block.decode(CODECS[candidate])\n",
        '        block.decode(CODECS[candidate], errors="replace")\n',
        ("tests/unit/engine",),
    ),
    Mutant(
        "an answer that is no document is a bug",
        "kube/official.py",
        "    except ValueError:\n        document = None\n    if not isinstance(document, dict):\n        said",
        "    except KeyError:\n        document = None\n    if not isinstance(document, dict):\n        said",
        ("tests/unit/kube",),
    ),
    Mutant(
        "one tenant goes first as long as it has keys",
        "kube/queue.py",
        "        del self._waiting[tenant]\n        if keys:\n            self._waiting[tenant] = keys\n",
        "        if not keys:\n            del self._waiting[tenant]\n",
        ("tests/unit/kube", "tests/attacks/test_flood.py"),
    ),
    Mutant(
        "one tenant takes every Helm process",
        "delivery/fair_slots.py",
        "return free > 1 or (free == 1 and (self._number == 1 or not self._held[tenant]))",
        "return free > 0",
        ("tests/unit/delivery", "tests/attacks/test_flood.py"),
    ),
    Mutant(
        "a query may read every namespace but in its first selector",
        "evidence/promql.py",
        "        return True\n\n    promql_parser.walk",
        "        return not open_selectors and False\n\n    promql_parser.walk",
        ("tests/attacks/test_promql.py",),
    ),
    Mutant(
        "a namespace's label may be a pattern",
        "evidence/promql.py",
        "found.op == promql_parser.MatchOp.Equal and ",
        "",
        ("tests/attacks/test_promql.py",),
    ),
    Mutant(
        "what is mended outside of our kinds is never looked at again",
        "plan/implementation.py",
        "        soonest.append(PROBLEM_AGAIN)\n",
        "        pass\n",
        ("tests/unit/plan/test_implementation.py",),
    ),
    Mutant(
        "a machine goes back past the point of no return",
        "plan/cutover.py",
        "        if record.point_of_no_return_passed:\n            return None\n",
        "",
        ("tests/unit/plan/test_cutover.py",),
    ),
    Mutant(
        "the way back begins beside a Job that is at work",
        "plan/cutover.py",
        "if seen.state is not StepState.RUNNING or fact.busy:",
        "if seen.state is not StepState.RUNNING:",
        ("tests/unit/plan/test_cutover.py",),
    ),
    Mutant(
        "a Job is made before the step that it does is stored",
        "plan/cutover_steps.py",
        "if record is None or name not in known or ",
        "if record is None or ",
        ("tests/unit/plan/test_cutover_decisions.py",),
    ),
    Mutant(
        "a second attempt takes the Job of the first for its own",
        "plan/cutover_steps.py",
        "record.attempt, back, status.name, status.attempt]",
        "back, status.name]",
        ("tests/simulation/test_cutover.py",),
    ),
)
