"""Words that names, addresses and materials are made of, and a source of choices that never changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# Region codes of GB/T 2260 with the city's short name: a credit code holds the first, a firm's name the second.
CITIES: tuple[tuple[str, str], ...] = (
    ("110100", "北京"), ("120100", "天津"), ("130100", "石家庄"), ("140100", "太原"), ("150100", "呼和浩特"),
    ("210100", "沈阳"), ("210200", "大连"), ("220100", "长春"), ("230100", "哈尔滨"), ("310100", "上海"),
    ("320100", "南京"), ("320500", "苏州"), ("330100", "杭州"), ("330200", "宁波"), ("330700", "义乌"),
    ("340100", "合肥"), ("350100", "福州"), ("350200", "厦门"), ("360100", "南昌"), ("370100", "济南"),
    ("370200", "青岛"), ("410100", "郑州"), ("420100", "武汉"), ("430100", "长沙"), ("440100", "广州"),
    ("440300", "深圳"), ("450100", "南宁"), ("500100", "重庆"), ("510100", "成都"), ("610100", "西安"),
)  # fmt: skip
BRAND_FIRST = "华恒永新盛嘉鑫宏润泰安远东方正光明瑞丰和顺达利通康健博雅天成金银玉海江河山川春秋云"
BRAND_SECOND = "升源隆昌茂达业兴旺福禄祥瑞宁凯腾飞翔宇辰星晨晖阳川岳峰林森木荣华锦绣程途航帆远志诚信"
TRADES = ("商贸", "贸易", "实业", "机电设备", "五金制品", "电子科技", "食品", "纺织品", "建材", "日用百货")
SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN_NAMES = ("伟", "芳", "娜", "敏", "静", "强", "磊", "洋", "艳", "勇", "建国", "秀英", "晓明", "志强", "丽华")
STREETS = ("人民路", "解放路", "中山路", "建设大街", "长江路", "黄河路", "和平街", "文化路", "工业园一路", "科技大道")
# Characters that GB18030 writes with four bytes, inside the basic plane (㐂, 㛃) and beyond it (𠮷, 𡈽, 𣲙, 𤭢).
RARE_CHARACTERS = ("㐂", "㛃", "𠮷", "𡈽", "𣲙", "𤭢")
GOODS = ("螺栓", "螺母", "轴承", "电缆", "开关", "水泵", "阀门", "滤芯", "皮带", "手套", "润滑油", "焊条", "钢管")
MATERIALS = ("不锈钢", "碳钢", "黄铜", "塑料", "橡胶", "铝合金", "陶瓷", "尼龙")
UNITS = ("个", "千克", "米", "升")


class Choices:
    """Random choices from one seed that come out the same with every Python: only `random()` is promised to."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, limit: int) -> int:
        return int(self._random.random() * limit)

    def one(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def distinct(self, count: int, limit: int) -> list[int]:
        """`count` different numbers below `limit`, in the order drawn."""
        drawn: dict[int, None] = {}
        while len(drawn) < count:
            drawn[self.below(limit)] = None
        return list(drawn)
