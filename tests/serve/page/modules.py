"""The page's modules, called one by one in the browser that runs them."""

from __future__ import annotations

from typing import Any

from tests.serve.page.browser import Tab


def run(tab: Tab, module: str, body: str, argument: Any = None) -> Any:
    """What a function returns that is given a module, as `m`, and an argument, as `x`."""
    return tab.evaluate(f"async (x) => {{ const m = await import('/page/{module}.js'); {body} }}", argument)


def bar(second: int, **changed: Any) -> dict[str, Any]:
    """A final bar of a second, with ten trades, numbered on from those of the second before."""
    made = {
        "timestamp": 1_000 * second,
        **{"open": "10.00", "high": "12", "low": "9", "close": "11", "volume": "1.5"},
        **{"trade_count": 10, "first_trade_id": 10 * second, "last_trade_id": 10 * second + 9},
        **{"missing_trades": 0, "revision": 0, "final": True},
    }
    return made | changed
