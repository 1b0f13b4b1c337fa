"""Headers of legacy files into names for columns: a small glossary of business words, no transliteration."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MAX_IDENTIFIER: Final = 63

GLOSSARY: Final = {
    "统一社会信用代码": "credit_code", "社会信用代码": "credit_code", "信用代码": "credit_code",
    "纳税人识别号": "tax_number", "身份证号码": "id_number", "身份证号": "id_number", "身份证": "id_number",
    "证件号码": "id_number", "税号": "tax_number", "客户": "customer", "供应商": "supplier",
    "往来单位": "party", "联系人": "contact", "联系": "contact", "员工": "employee", "部门": "department",
    "公司": "company",
    "单位": "unit", "产品": "product", "商品": "product", "物料": "material", "仓库": "warehouse",
    "库存": "stock", "订单": "order", "合同": "contract", "发票": "invoice", "凭证": "voucher",
    "科目": "account", "银行": "bank", "账号": "account_number", "帐号": "account_number", "开户行": "bank",
    "项目": "project", "编码": "code", "编号": "code", "代码": "code", "代号": "code", "单号": "number",
    "序号": "sequence", "流水号": "sequence", "号码": "number", "名称": "name", "简称": "short_name",
    "姓名": "name", "英文": "english", "类型": "type", "类别": "category", "分类": "category", "等级": "tier",
    "级别": "level", "状态": "status", "规格": "specification", "型号": "model", "数量": "quantity",
    "单价": "unit_price", "价格": "price", "金额": "amount", "余额": "balance", "成本": "cost",
    "税率": "tax_rate", "税额": "tax", "折扣": "discount", "额度": "limit", "信用": "credit",
    "币种": "currency", "日期": "date", "时间": "time", "创建": "created", "修改": "changed", "更新": "updated",
    "建档": "created", "生日": "birthday", "出生": "birth", "年龄": "age", "性别": "sex", "电话": "phone",
    "手机": "mobile", "传真": "fax", "邮箱": "email", "电子邮件": "email", "邮编": "postcode",
    "地址": "address", "省": "province", "市": "city", "区": "district", "国家": "country", "备注": "remark",
    "说明": "description", "是否": "is", "启用": "active", "有效": "active", "停用": "inactive",
    "上级": "parent", "负责": "responsible", "销售": "sales", "采购": "purchase", "人": "person",
    "号": "number", "名": "name",
}  # fmt: skip
_WORDS: Final = re.compile("|".join(sorted(GLOSSARY, key=len, reverse=True)) + r"|[A-Za-z][A-Za-z0-9]*|[0-9]+|(.)")
_IGNORED: Final = re.compile(r"[\W_]")
_UNITS: Final = re.compile(r"[(（\[【].*?[)）\]】]")


def identifier(header: str) -> str | None:
    """A column's name for a header: Latin words as they are, known Chinese words translated; None when one is unknown.

    Remarks in brackets are left out. The answer is made of a-z, 0-9 and _ only, whatever the header holds.
    """
    words = []
    for found in _WORDS.finditer(_UNITS.sub("", header[:200])):
        if found[1] is not None:
            if _IGNORED.fullmatch(found[1]):
                continue
            return None
        words.append(GLOSSARY.get(found[0], found[0].lower()))
    name = "_".join(words)[:MAX_IDENTIFIER].strip("_")
    if not name:
        return None
    return name if not name[0].isdigit() else f"c_{name}"[:MAX_IDENTIFIER]


def distinct_identifiers(headers: Iterable[str]) -> list[str]:
    """A name for each header, no two alike; `column_3` where the third header has words that nobody translated."""
    taken: set[str] = set()
    names = []
    for position, header in enumerate(headers, start=1):
        name = identifier(header) or f"column_{position}"
        if name in taken:
            name = f"{name[: MAX_IDENTIFIER - 6]}_{position}"
        taken.add(name)
        names.append(name)
    return names


def label(text: str, default: str) -> str:
    """The text, or the default where it has words that nobody translated, as the name of a Kubernetes object."""
    return (identifier(text) or identifier(default) or "legacy").replace("_", "-")
