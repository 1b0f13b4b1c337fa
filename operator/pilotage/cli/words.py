"""The words of the command line in the languages of its users. States and reasons stay as the API has them."""

from __future__ import annotations

import os
from typing import Final

LANGUAGES: Final = ("en", "zh-CN")

_WORDS: Final = {
    "wave": "批次 {}",
    "waves": "批次 {}/{}",
    "modules live": "已上线模块 {}",
    "live": "已上线",
    "gates": "关口",
    "cutover": "上线切换",
    "minutes": "{}/{} 分钟",
    "migrations": "数据迁移",
    "checks": "验收检查",
    "next": "下一步",
    "ready": "就绪",
    "nothing to do": "目前无人需要处理",
    "step": "步骤",
    "after": "历时",
    "accepted in the end": "最终验收通过",
    "state of a module": "模块状态",
    "reason": "原因",
    "name": "名称",
    "kind": "类别",
    "means": "含义",
    "what to do": "如何处理",
    "decided by": "决定人",
    "decided": "决定次数",
    "once": "全项目一次",
    "each wave": "每批次",
    "each module": "每模块",
    "only where spec.gates says so": "仅当 spec.gates 指定",
    "holds modules in state": "模块停留状态",
    "valid for": "有效期",
    "accepted on": "预计 {} 最终验收，自开始起 {} 天",
    "waited for": "等待对象",
    "times": "次数",
    "days": "天数",
    "when": "时间",
    "this would hold it": "将停留于此：",
    "due": "截止",
    "overdue": "已逾期",
    "who": "谁",
    "what": "事项",
    "project": "项目",
    "customer": "客户",
    "phase": "阶段",
    "waits for": "等待",
    "chunks": "分块 {}/{}",
    "until": "预计完成 {}",
    "digest": "摘要",
    "no projects": "没有项目",
    "You are about to sign": "您即将签署",
    "gate": "关口",
    "decision": "决定",
    "of": "决定人",
    "recorded by": "记录人",
    "state": "状态",
    "Sign?": "确认签署？",
    "recorded as": "已记录为",
    "attested": "培训、测试与缺陷",
    "training": "培训",
    "people": "{}/{} 人通过",
    "tests": "用户测试",
    "cases": "{}/{} 用例通过",
    "defects": "未关闭缺陷",
    "unheeded": "未采信",
    "recorded": "已记录 {}",
    "no requirement names it": "没有需求以 uat/{} 作为验收依据",
    "it counts": "已生效（{}）",
    "it does not count": "未生效：{}",
    "not looked at yet": "操作员程序尚未处理；请用 pilotage status 查看",
    "report": "项目周报",
    "report of": "{} 至 {}，阶段 {}，已上线模块 {}",
    "report happened": "本期进展",
    "report standing": "当前状态",
    "report next": "下一步：谁来做什么",
    "report risks": "风险",
    "report blocked": "停滞时间（按原因）",
    "report projected": "预计稳定运行结束",
    "report nothing": "无",
    "module": "模块",
    "setting": "设置",
    "value": "取值",
    "why": "原因说明",
    "card of": "{}，共 {} 人",
    "card modules": "您使用的模块",
    "card permissions": "您可以做什么",
    "card settings": "系统如何设置，为什么",
    "card asked": "需求及其原因",
    "card test": "考核",
    "card score": "得分达到 {} 分为通过；上线前须有 {} 的人员通过。",
}


def language() -> str:
    """The language of the terminal: zh-CN where the locale is Chinese, else en."""
    for name in ("PILOTAGE_LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if text := os.environ.get(name):
            return "zh-CN" if text.lower().startswith("zh") else "en"
    return "en"


class Language:
    """Looks words up. A word without a translation stays as it is, which the tests refuse."""

    def __init__(self, name: str) -> None:
        self._translated = name == "zh-CN"

    @property
    def chinese(self) -> bool:
        """Whether words are translated."""
        return self._translated

    def __call__(self, word: str, *values: object) -> str:
        english = ENGLISH.get(word, word)
        return (_WORDS[word] if self._translated else english).format(*values)


ENGLISH: Final = {
    "wave": "wave {}",
    "waves": "wave {} of {}",
    "modules live": "{} modules live",
    "minutes": "{}/{} minutes",
    "chunks": "{} of {} chunks",
    "until": "done about {}",
    "accepted on": "accepted on {}, {} days after the beginning",
    "attested": "trainings, tests and defects",
    "people": "{} of {} people passed",
    "cases": "{} of {} cases passed",
    "defects": "open defects",
    "unheeded": "changes nothing",
    "recorded": "recorded {}",
    "no requirement names it": "no requirement is accepted by uat/{}",
    "it counts": "it counts ({})",
    "it does not count": "it does not count: {}",
    "report": "Report",
    "report of": "{} to {}, phase {}, {} modules live",
    "report happened": "What happened",
    "report standing": "Where it stands",
    "report next": "Who has to do what",
    "report risks": "At risk",
    "report blocked": "Time that it stood still, by cause",
    "report projected": "Stable runs end, if nothing happens",
    "report nothing": "Nothing.",
    "card of": "{}, {} people",
    "card modules": "What you work with",
    "card permissions": "What you may do",
    "card settings": "How it is set, and why",
    "card asked": "What was asked for, and why",
    "card test": "The test",
    "card score": "Passed with a score of {} or more; {} of you must have passed before the go-live.",
    "not looked at yet": "the operator has not looked at it yet; see pilotage status",
}
