"""How a page looks: on a screen, in the dark, and on paper."""

STYLE = """
:root { --ink: #1c2330; --soft: #5b6576; --line: #d9dee7; --paper: #ffffff; --wash: #f5f7fa;
  --main: #2f6fb2; --good: #2e8b57; --bad: #c0392b; --alarm: #fdecea; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf1; --soft: #a0aabb; --line: #3a4352;
  --paper: #161b22; --wash: #1f2630; --main: #6ea8e0; --good: #5cb98a; --bad: #e57366;
  --alarm: #45201d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 24px 60px; max-width: 1000px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
p { margin: 6px 0 12px; } .soft { color: var(--soft); }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0; }
.card { background: var(--wash); border: 1px solid var(--line); border-radius: 8px;
  padding: 10px 16px; min-width: 92px; }
.card b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
.alarm { background: var(--alarm); border-left: 4px solid var(--bad); padding: 10px 14px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 8px 0 14px; font-size: 14px; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 600; }
table.facts td { text-align: left; vertical-align: top; }
table.facts td:first-child { white-space: nowrap; color: var(--soft); width: 1%; }
table.facts td:last-child { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
svg { width: 100%; height: auto; display: block; margin: 6px 0 14px; max-width: 760px; }
svg .ink { fill: var(--ink); } svg .bar { fill: var(--main); } svg .better { fill: var(--good); }
svg .worse { fill: var(--bad); } svg .grid, svg .axis { stroke: var(--line); fill: none; }
svg .curve { stroke: var(--main); stroke-width: 2; fill: none; } svg .dot { fill: var(--main); }
svg .level { stroke: var(--soft); stroke-dasharray: 5 4; fill: none; }
figure { margin: 0 0 22px; break-inside: avoid; } figure img { max-width: 100%; display: block; }
figcaption { font-size: 13px; color: var(--soft); margin-bottom: 5px; }
details summary { cursor: pointer; color: var(--main); margin: 6px 0; }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } .card { padding: 6px 10px; }
  :root { --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --wash: #fff; --main: #2f6fb2;
    --alarm: #fff; color-scheme: light; }
  h2, h2 + p { break-after: avoid; } tr, svg, figure { break-inside: avoid; }
  summary { display: none; } details::details-content { content-visibility: visible; }
  thead { display: table-header-group; } .scroll { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
@page { margin: 15mm; }
"""
