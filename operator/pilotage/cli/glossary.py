"""What gates, module states and reasons mean and who acts, in the languages of their readers: one catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pilotage.api.v1alpha1.implementation import ImplementationSpec, ModuleState
from pilotage.api.v1alpha1.project import GateName, Per, Profile
from pilotage.cli.words import Language
from pilotage.plan.gates import PRESETS, gate_rules
from pilotage.plan.reasons import Reason


@dataclass(frozen=True)
class Entry:
    """One name explained: what it means and what to do, in English and in Chinese."""

    means: tuple[str, str]
    act: tuple[str, str]


NOBODY: Final = ("nobody has to act: it goes on by itself", "无需人工处理，将自动继续")

GATES: Final = {
    GateName.ENVIRONMENT_READY: Entry(
        ("what the preflight misses and is not strict has been mended or waived", "预检中非强制的缺失项已解决或被豁免"),
        ("operations mends it, or it is waived: pilotage waive", "运维处理，或予以豁免：pilotage waive"),
    ),
    GateName.SCOPE_BASELINED: Entry(
        (
            "the scope is agreed on: goals, requirements, what proves each",
            "范围已确认：目标、需求以及每项需求的验收依据",
        ),
        (
            "complete spec.requirements until status.scope has no problem; then sign. A changed must-have asks again",
            "补全 spec.requirements，直到 status.scope 没有问题，然后签署；必须项变更后需重新签署",
        ),
    ),
    GateName.DATA_RECONCILED: Entry(
        ("the data owner has checked the loaded data", "数据负责人已核对迁移后的数据"),
        (
            "read the migration's certificate, then sign; another certificate asks again",
            "查看迁移证书后签署；证书变化后需重新签署",
        ),
    ),
    GateName.CONFIGURATION_READY: Entry(
        ("the module is configured as agreed", "模块已按约定完成配置"),
        ("let the checks of this gate pass, then sign", "待该关口的检查通过后签署"),
    ),
    GateName.PRELIMINARY_ACCEPTED: Entry(
        ("preliminary acceptance of a wave, before its use", "批次上线前的初步验收（初验）"),
        ("let the users' tests pass, then sign", "待用户测试通过后签署"),
    ),
    GateName.GO_LIVE_APPROVED: Entry(
        ("a wave may go live", "批次可以上线"),
        (
            "have people trained and the users' tests passed, then sign; an approval that is not used in time expires",
            "完成培训和用户测试后签署；批准未在有效期内使用则失效",
        ),
    ),
    GateName.STABLE_RUN_COMPLETE: Entry(
        ("the module has run without a miss as long as agreed", "模块已按约定时长稳定运行"),
        (
            "let the clock run out (pilotage status shows it), then sign",
            "待稳定运行计时结束（见 pilotage status）后签署",
        ),
    ),
    GateName.FINAL_ACCEPTED: Entry(
        ("final acceptance of the project", "项目最终验收（终验）"),
        (
            "all modules stable, then sign; open points may go into a punch list: approve --condition",
            "所有模块稳定后签署；遗留事项可列入整改清单：approve --condition",
        ),
    ),
}

STATES: Final = {
    ModuleState.PENDING: Entry(
        ("not begun", "尚未开始"), ("see the module's reason: what it waits for", "查看模块的原因：它在等待什么")
    ),
    ModuleState.CONFIGURING: Entry(
        ("Helm is at work, or workloads are starting", "Helm 正在执行，或工作负载正在启动"), NOBODY
    ),
    ModuleState.MIGRATING: Entry(
        ("its migrations load", "正在迁移数据"),
        (
            "watch `pilotage status`; apply MigrationJobs that are missing",
            "用 pilotage status 查看；补上缺少的 MigrationJob",
        ),
    ),
    ModuleState.VERIFYING: Entry(
        ("its configuration and data are being measured", "正在检查配置和数据"),
        ("mend what a check misses", "处理检查未达标之处"),
    ),
    ModuleState.PREPARED: Entry(
        ("ready for use; waits for people or for its wave", "已就绪，等待人员或批次"),
        ("train, test, sign: see status.nextActions", "培训、测试、签署：见 status.nextActions"),
    ),
    ModuleState.CUTTING_OVER: Entry(("it is being brought into use", "正在切换上线"), NOBODY),
    ModuleState.LIVE: Entry(
        ("in use; its stable run is measured", "已上线，正在考核稳定运行"), ("keep it running", "保持运行")
    ),
    ModuleState.STABLE: Entry(
        ("its stable run is complete", "稳定运行已完成"), ("sign the final acceptance", "签署最终验收")
    ),
    ModuleState.ACCEPTED: Entry(("accepted", "已验收"), ("nothing to do", "无需处理")),
    ModuleState.ROLLED_BACK: Entry(
        ("a new version failed and the one before runs again", "新版本失败，已回退到之前的版本"),
        (
            "an engineer changes the module, or asks to try again by the annotation pilotage.dev/retry-at",
            "工程师修改模块，或设置注解 pilotage.dev/retry-at 重试",
        ),
    ),
    ModuleState.UNHEALTHY: Entry(
        ("workloads that were healthy are not", "原本健康的工作负载出现异常"),
        ("an engineer looks at its pods", "工程师检查其 Pod"),
    ),
    ModuleState.FAILED: Entry(
        ("it did not succeed and is not tried again by itself", "失败，且不会自动重试"),
        ("an engineer mends what the message names, then asks to try again", "工程师按消息处理后重试"),
    ),
}

MEND: Final = (
    "an engineer mends what the message names, then sets the annotation pilotage.dev/retry-at to a new value",
    "工程师按消息处理，然后把注解 pilotage.dev/retry-at 设为新值",
)
APPLY: Final = ("an engineer applies or corrects the object that the message names", "工程师补上或更正消息所指的对象")
SIGN: Final = (
    "who is named in status.nextActions signs: pilotage approve",
    "由 status.nextActions 所列人员签署：pilotage approve",
)

REASONS: Final = {
    Reason.OBSERVING: Entry(("chart, values and release are being read", "正在读取 chart、值和发布"), NOBODY),
    Reason.ACTING: Entry(("Helm is at work", "Helm 正在执行"), NOBODY),
    Reason.PROGRESSING: Entry(
        ("workloads are starting, within the module's timeout", "工作负载正在启动，尚未超时"), NOBODY
    ),
    Reason.RELEASE_LOCKED: Entry(
        ("an action was cut off; its record is being unlocked", "操作被中断，正在解锁其记录"), NOBODY
    ),
    Reason.RELEASE_FAILED: Entry(("Helm's action failed", "Helm 操作失败"), MEND),
    Reason.ROLLED_BACK: Entry(
        ("the wanted version failed; the one before runs", "期望版本失败，之前的版本在运行"), MEND
    ),
    Reason.HEALTH_TIMEOUT: Entry(("not healthy within the module's timeout", "在模块的超时时间内未健康"), MEND),
    Reason.UNHEALTHY: Entry(
        ("workloads are not healthy", "工作负载不健康"), ("an engineer looks at its pods", "工程师检查其 Pod")
    ),
    Reason.MIGRATION_JOB_MISSING: Entry(("a MigrationJob is expected and not there", "缺少所需的 MigrationJob"), APPLY),
    Reason.MIGRATION_JOB_MISMATCH: Entry(("a MigrationJob points elsewhere", "MigrationJob 指向其他对象"), APPLY),
    Reason.MIGRATION_NOT_SUCCEEDED: Entry(
        ("a migration ended without success", "数据迁移未成功"),
        ("the data owner and an engineer read its message and quarantine", "数据负责人和工程师查看其消息和隔离数据"),
    ),
    Reason.MIGRATING: Entry(("a migration is under way", "正在迁移数据"), NOBODY),
    Reason.CHECK_MISSING: Entry(("an AcceptanceCheck is expected and not there", "缺少所需的 AcceptanceCheck"), APPLY),
    Reason.CHECK_MISMATCH: Entry(
        ("an AcceptanceCheck does not cover the module", "AcceptanceCheck 未覆盖该模块"), APPLY
    ),
    Reason.CHECK_NOT_PASSED: Entry(
        ("a check has not passed yet", "检查尚未通过"),
        ("mend what it measures, or let its clock run out", "处理其测量项，或等待计时结束"),
    ),
    Reason.DEPENDENCY_NOT_LIVE: Entry(("a module that it needs is not live", "所依赖的模块尚未上线"), NOBODY),
    Reason.WAVE_NOT_OPEN: Entry(("its wave comes later", "所在批次尚未开始"), NOBODY),
    Reason.WAVE_STOPPED: Entry(
        ("a module of its wave failed, so nothing new begins", "同批次有模块失败，不再开始新的工作"),
        ("mend the failed module", "处理失败的模块"),
    ),
    Reason.MUTEX_HELD: Entry(("another module with the same mutex is at work", "同一互斥锁的其他模块正在执行"), NOBODY),
    Reason.MAX_PARALLEL: Entry(
        ("as many modules are at work as rollout.maxParallel allows", "并行数已达 rollout.maxParallel"), NOBODY
    ),
    Reason.SCOPE_INCOMPLETE: Entry(
        ("a requirement lacks something", "需求不完整"),
        (
            "the project manager completes what status.scope.problems lists",
            "项目经理补全 status.scope.problems 所列内容",
        ),
    ),
    Reason.SCOPE_BASELINED: Entry(("the scope is complete", "范围完整"), ("nothing to do", "无需处理")),
    Reason.AWAITING_APPROVAL: Entry(("a gate waits for persons", "关口等待人员决定"), SIGN),
    Reason.TRAINING_INCOMPLETE: Entry(
        ("people of a role are not trained yet", "角色的培训尚未完成"),
        ("train them and record it: pilotage attest NAME Training", "完成培训并记录：pilotage attest NAME Training"),
    ),
    Reason.TRAINING_COMPLETE: Entry(("everybody is trained", "培训已完成"), ("nothing to do", "无需处理")),
    Reason.TEST_NOT_PASSED: Entry(
        ("a users' test case has not passed", "用户测试用例尚未通过"),
        ("key users test and record it: pilotage attest NAME UAT", "关键用户测试并记录：pilotage attest NAME UAT"),
    ),
    Reason.HYPERCARE_FULL: Entry(
        ("as many live modules are not yet stable as the rollout allows", "尚未稳定的已上线模块数达到上限"),
        (
            "let them become stable, or raise rollout.maxModulesInHypercare",
            "等其稳定，或提高 rollout.maxModulesInHypercare",
        ),
    ),
    Reason.ROLLBACK_NEEDS_PERSON: Entry(
        (
            "data that cannot be taken back is in use, so no machine goes back",
            "不可撤回的数据已在使用，程序不会自动回退",
        ),
        (
            "the customer's lead orders it: pilotage rollback, or an engineer changes the module",
            "由客户负责人决定：pilotage rollback，或由工程师修改模块",
        ),
    ),
    Reason.CUTOVER_QUEUED: Entry(
        ("as many projects are cut over as the installation allows at once", "同时切换的项目已达平台上限，正在排队"),
        (
            "nobody has to act: status.schedule has the position; spec.priority decides who goes first",
            "无需人工处理；排队位置见 status.schedule，先后由 spec.priority 决定",
        ),
    ),
    Reason.CUTOVER_INVALID: Entry(
        ("the plan of the cutover names what is not there", "切换计划引用了不存在的对象或人员"),
        ("an engineer mends the field that the message names", "工程师修正消息所指的字段"),
    ),
    Reason.CUTOVER_DOES_NOT_FIT: Entry(
        ("the planned minutes are more than is left of the window", "切换计划时长超过窗口剩余时间"),
        (
            "nobody has to act if a window that is long enough comes; else make the window longer or the plan shorter",
            "若之后有足够长的窗口则无需处理；否则延长窗口或缩短计划",
        ),
    ),
    Reason.CUTOVER_NOT_REACHED: Entry(
        ("the Final run waits for its step of the module's cutover", "正式迁移等待切换计划中的对应步骤"), NOBODY
    ),
    Reason.CUTOVER_RUNNING: Entry(
        ("a step of the cutover is under way", "切换步骤正在执行"),
        (
            "who is named in status.nextActions does the step and confirms it",
            "由 status.nextActions 所列人员执行并确认",
        ),
    ),
    Reason.CUTOVER_STEP_FAILED: Entry(
        ("a step failed that no machine takes back", "切换步骤失败，且不会自动回退"),
        (
            "its owner mends it and asks to try again, or the customer's lead orders the way back: pilotage rollback",
            "步骤负责人处理后重试，或由客户负责人下令回退：pilotage rollback",
        ),
    ),
    Reason.CUTOVER_ABORTING: Entry(("the cutover is being taken back", "切换正在回退"), NOBODY),
    Reason.CUTOVER_ABORTED: Entry(
        ("the cutover was aborted and taken back", "切换已中止并回退"),
        (
            "mend what the message names; then approve the go-live anew, or set the annotation pilotage.dev/retry-at",
            "处理消息所指的问题，然后重新批准上线，或设置注解 pilotage.dev/retry-at",
        ),
    ),
    Reason.WINDOW_CLOSED: Entry(
        ("the module's window is shut", "当前不在上线窗口内"),
        (
            "nobody has to act: it goes on when the window opens; spec.schedule.windows says when",
            "无需人工处理，窗口开启后继续；见 spec.schedule.windows",
        ),
    ),
    Reason.WINDOW_INVALID: Entry(
        ("a window cannot be understood, so none opens", "窗口定义无法识别，任何窗口都不会开启"), APPLY
    ),
    Reason.CUTOVER_QUEUED: Entry(
        (
            "other projects are being cut over, as many as the installation allows",
            "其他项目正在切换上线，数量已达本环境上限",
        ),
        NOBODY,
    ),
    Reason.GATE_REJECTED: Entry(
        ("somebody rejected a gate", "关口被拒绝"),
        ("change what was objected to; then the gate asks anew", "修改被反对的内容，然后关口会重新征求决定"),
    ),
    Reason.PREFLIGHT_PENDING: Entry(("the preflight is being run", "正在进行环境预检"), NOBODY),
    Reason.PREFLIGHT_FAILED: Entry(
        ("the environment lacks something", "环境不满足要求"),
        (
            "operations does what the check's remedy says; it is repeated by itself",
            "运维按检查给出的办法处理，预检会自动重复",
        ),
    ),
    Reason.DEPENDENCY_CYCLE: Entry(
        ("modules, migrations and checks wait for each other", "模块、迁移和检查相互等待"),
        ("an engineer removes one of the dependencies", "工程师去掉其中一个依赖"),
    ),
    Reason.SUSPENDED: Entry(
        ("spec.suspend is true", "spec.suspend 为 true"), ("set spec.suspend to false", "把 spec.suspend 设为 false")
    ),
    Reason.UNINSTALLING: Entry(("releases are being uninstalled", "正在卸载发布"), NOBODY),
    Reason.ROLLING_OUT: Entry(("modules are under way", "模块正在实施"), NOBODY),
    Reason.ALL_LIVE: Entry(("every module is live", "所有模块已上线"), ("nothing to do", "无需处理")),
    Reason.MODULE_FAILED: Entry(("a module failed", "有模块失败"), MEND),
}


def names() -> dict[str, list[str]]:
    """Everything that can be explained, by kind."""
    return {"gate": [*map(str, GATES)], "state of a module": [*map(str, STATES)], "reason": list(REASONS)}


def explained(name: str, say: Language) -> Iterator[dict[str, str]]:
    """The entries of that name, whatever its case. A gate and a reason can have one name."""
    for kind, entries in (("gate", GATES), ("state of a module", STATES), ("reason", REASONS)):
        for found, entry in entries.items():
            if found.lower() == name.lower():
                facts = _gate(GateName(found), say) if kind == "gate" else {}
                yield {
                    "name": str(found),
                    "kind": say(kind),
                    "means": entry.means[say.chinese],
                    **facts,
                    "what to do": entry.act[say.chinese],
                }


def _gate(name: GateName, say: Language) -> dict[str, str]:
    """Who decides by the presets of each profile, as the operator itself reads them; nothing of one without parties."""
    preset = PRESETS.get(name)
    if preset is None:
        return {}
    per = {Per.PROJECT: "once", Per.WAVE: "each wave", Per.MODULE: "each module"}[preset.per]
    presets = {profile: gate_rules(_any_project(profile)) for profile in Profile}
    asked = [f"{profile}: {', '.join(rules[name].requires)}" for profile, rules in presets.items() if name in rules]
    own = f"{', '.join(preset.requires)} ({say('only where spec.gates says so')})"
    found = {"decided by": "; ".join(asked) or own, "decided": say(per)}
    if preset.holds:
        found["holds modules in state"] = str(preset.holds)
    return found | ({"valid for": preset.valid_for} if preset.valid_for else {})


def _any_project(profile: Profile) -> ImplementationSpec:
    module = {"name": "any", "chart": {"configMapRef": {"name": "any"}}}
    customer = {"code": "any", "name": "any"}
    return ImplementationSpec.model_validate({"customer": customer, "modules": [module], "profile": profile})
