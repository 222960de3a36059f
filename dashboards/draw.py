# ruff: noqa: FBT003 - setters of the SDK take booleans
"""The only importer of grafana-foundation-sdk: our pages to Grafana's JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.panels import alerts, select, series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.panels import Page, Panel

UIDS: Final = {
    "pos-consumer-overview": "Overview",
    "pos-consumer-aggregate": "Aggregate",
    "pos-consumer-upload": "Upload",
    "pos-consumer-process": "Kafka and process",
}
_SOURCE: Final = common_model.DataSourceRef(type_val="prometheus", uid="$datasource")
_COLOURS: Final = ("green", "orange", "red")
_KEPT: Final = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}"


def draw(page: Page) -> str:
    """Return the dashboard as Grafana reads it: stable, line by line."""
    builder = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags(["pos-consumer"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .link(
            dashboard.DashboardLink("pos-consumer")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["pos-consumer"])
            .include_vars(True)
            .keep_time(True)
        )
    )
    for variable in _variables():
        builder.with_variable(variable)
    for annotation in _annotations():
        builder.annotation(annotation)
    for row in page.rows:
        builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_panel(panel))
    return JSONEncoder(indent=2, sort_keys=True).encode(builder.build()) + "\n"


def _variables() -> list[Any]:
    source = (
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
    )
    known = series("build").partition("{")[0]
    found = {
        "job": ("Job", f"label_values({known}, job)"),
        "instance": ("Instance", f'label_values({known}{{job=~"$job"}}, instance)'),
    }
    return [
        source,
        *(
            dashboard.QueryVariable(name)
            .label(label)
            .query(query)
            .datasource(_SOURCE)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".+")
            .current(model.VariableOption(True, ["All"], ["$__all"]))
            for name, (label, query) in found.items()
        ),
    ]


def _annotations() -> list[Any]:
    build, rebalances = series("build"), series("rebalances")
    started = select("process_start_time_seconds")
    shown = (
        (
            "Deploys",
            "blue",
            (
                f"count by (version) ({build}) unless "
                f"count by (version) ({build} offset 5m)"
            ),
            "{{version}}",
        ),
        ("Alerts", "red", alerts("firing"), "{{alertname}} {{stage}} {{partition}}"),
        ("Restarts", "orange", f"time() - {started} < 60", "{{instance}}"),
        (
            "Rebalances",
            "purple",
            f"sum by (stage, kind) (increase({rebalances}[1m])) > 0",
            "{{stage}}: {{kind}}",
        ),
    )
    return [
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expr)
        .title_format(name)
        .text_format(text)
        .step("60s")
        for name, colour, expr, text in shown
    ]


def _panel(panel: Panel) -> Any:  # noqa: ANN401 - three kinds of builders
    made = _kinds(panel)
    made.title(panel.title).description(panel.explanation).datasource(_SOURCE)
    made.unit(panel.unit).span(panel.width).height(panel.height)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.kind != "table":
        made.min(0)
    if panel.most is not None:
        made.max(panel.most)
    for ref, query in zip("ABCDEFGH", panel.queries, strict=False):
        asked = prometheus.Dataquery().ref_id(ref).expr(query.expr)
        asked.datasource(_SOURCE).legend_format(query.legend or "__auto")
        if panel.kind == "table":
            asked.instant().format(PromQueryFormat.TABLE)
        made.with_target(asked if panel.kind == "table" else asked.range())
    if panel.steps is not None:
        made.thresholds(_thresholds(*panel.steps))
    made.mappings(list(_mappings(panel)))
    if panel.link:
        made.data_links(
            [
                dashboard.DashboardLink(f"{UIDS[panel.link]} in detail").url(
                    f"/d/{panel.link}?{_KEPT}"
                )
            ]
        )
    return made


def _kinds(panel: Panel) -> Any:  # noqa: ANN401 - three kinds of builders
    if panel.kind == "stat":
        reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
        return (
            stat.Panel()
            .reduce_options(reduced)
            .graph_mode(common_model.BigValueGraphMode.AREA)
            .color_mode(common_model.BigValueColorMode.BACKGROUND)
        )
    if panel.kind == "table":
        return table.Panel().with_transformation(_columns(panel))
    graph = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(10)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    if panel.kind == "stack":
        graph.fill_opacity(60).stacking(
            common.StackingConfig().mode(common_model.StackingMode.NORMAL)
        )
    if panel.steps is not None:
        graph.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(
                common_model.GraphThresholdsStyleMode.DASHED
            )
        )
    return graph


def _mappings(panel: Panel) -> Iterator[model.ValueMap | model.SpecialValueMap]:
    """Give words for values; a quantile of nothing is no number."""
    if panel.names:
        yield model.ValueMap(
            options={
                value: model.ValueMappingResult(text=text)
                for value, text in panel.names.items()
            }
        )
    if panel.kind == "stat":
        yield model.SpecialValueMap(
            options=model.DashboardSpecialValueMapOptions(
                match=model.SpecialValueMatch.NULL_AND_NAN,
                result=model.ValueMappingResult(text="no data"),
            )
        )


def _columns(panel: Panel) -> model.DataTransformerConfig:
    """Show the named columns of a table, in their order, and no other."""
    return model.DataTransformerConfig(
        id_val="organize",
        options={
            "includeByName": dict.fromkeys(panel.columns, True),
            "indexByName": {name: place for place, name in enumerate(panel.columns)},
            "renameByName": dict(panel.columns),
        },
    )


def _thresholds(warn: float, bad: float) -> Any:  # noqa: ANN401 - the SDK's builder
    """Return rising steps, or falling ones where less is worse."""
    good, middle, worst = _COLOURS
    falling = warn > bad
    steps = (
        [(None, worst), (bad, middle), (warn, good)]
        if falling
        else [(None, good), (warn, middle), (bad, worst)]
    )
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps(
            [
                model.Threshold(color=colour, value=value)
                for value, colour in steps
                if colour != middle or warn != bad
            ]
        )
    )
