# Copyright: (c) 2026, the platform.recovery authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The style sheet of report.html."""

from __future__ import annotations

_SOURCE = """
:root{--ink:#16202c;--soft:#5a6878;--faint:#8a96a3;--page:#f3f5f8;--card:#fff;--line:#dfe4ea;--track:#edf0f4;
--good:#12784a;--good-bg:#e2f5ea;--bad:#c0262d;--bad-bg:#fdeaea;--warn:#9a5b00;--warn-bg:#fdf1dc;--info:#1f58c4;
--info-bg:#e6eefc;
--bar:#3a6fd8;--budget:#cfdcf5;--outage:rgba(208,46,52,.13)}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf3;--soft:#a3b0be;--faint:#77848f;--page:#0f151c;--card:#18212b;
--line:#2a3643;
--track:#222d38;--good:#5fd39a;--good-bg:#143526;--bad:#ff8a8a;--bad-bg:#421b1f;--warn:#f2bd63;--warn-bg:#3b2b10;
--info:#8fb6ff;
--info-bg:#1a2c4d;--bar:#6f9cf5;--budget:#2c4067;--outage:rgba(255,107,107,.16)}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums;--tone:var(--good);--tone-bg:var(--good-bg)}
body.warn{--tone:var(--warn);--tone-bg:var(--warn-bg)}
body.bad{--tone:var(--bad);--tone-bg:var(--bad-bg)}
body.info{--tone:var(--info);--tone-bg:var(--info-bg)}
main{max-width:1020px;margin:0 auto;padding:28px 20px 40px}
h1{font-size:1.75rem;line-height:1.2;margin:0;letter-spacing:-.015em}
h2{font-size:1.05rem;margin:0 0 14px;letter-spacing:-.005em}
h3{font-size:1rem;margin:0 0 4px}
p{margin:0}
code,.lost,.log time{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86em}
section,details,.hero{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:22px 24px;
margin:0 0 16px;overflow-wrap:anywhere}
.hero{display:flex;gap:20px;align-items:flex-start;border-top:5px solid var(--tone)}
.seal{flex:none;width:58px;height:58px;border-radius:50%;background:var(--tone-bg);color:var(--tone);font-size:30px;
font-weight:700;
display:grid;place-items:center}
.mark{background:var(--bad);color:var(--card);font-weight:700;border-radius:14px;padding:16px 24px;margin:0 0 16px;
overflow-wrap:anywhere;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.verdict{color:var(--tone);font-weight:700;font-size:1rem;margin-bottom:2px}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:12px 0 10px}
.chips span{border:1px solid var(--line);border-radius:99px;padding:1px 11px;font-size:.84rem;color:var(--soft)}
.who{color:var(--soft);font-size:.92rem}
.reason{margin-top:12px;padding-left:12px;border-left:3px solid var(--line);font-size:.95rem}
.badge{border-radius:99px;padding:1px 10px;font-size:.78rem;font-weight:650;background:var(--track);
color:var(--soft);white-space:nowrap}
.badge.good{background:var(--good-bg);color:var(--good)}
.badge.bad{background:var(--bad-bg);color:var(--bad)}
.badge.warn{background:var(--warn-bg);color:var(--warn)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:16px;padding:0;border:0;
background:none}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:20px 22px;--c:var(--faint)}
.card.good{--c:var(--good)}
.card.bad{--c:var(--bad)}
.label{display:flex;align-items:center;gap:7px;font-size:.9rem;color:var(--soft)}
.label abbr{font-weight:650;color:var(--faint);font-size:.8rem}
.label .badge{margin-left:auto}
.value{font-size:2.35rem;font-weight:680;line-height:1.15;margin:10px 0 12px;letter-spacing:-.03em}
.card.bad .value{color:var(--bad)}
.meter{height:6px;border-radius:3px;background:var(--track);overflow:hidden}
.meter i{display:block;height:100%;background:var(--c);border-radius:3px;min-width:3px}
.meter i[style="width:0.0%"]{min-width:0}
.meter.void{background:none;border-top:1px dashed var(--line);border-radius:0;margin-top:3px;height:3px}
.against{font-size:.9rem;margin-top:9px}
.how,.meta,figcaption,footer{color:var(--soft);font-size:.86rem}
.how{margin-top:5px}
.next{border-left:5px solid var(--tone)}
.next ol,.log{margin:0;padding-left:22px}
.next li+li{margin-top:6px}
.failure{border:1px solid var(--line);border-left:5px solid var(--bad);border-radius:10px;padding:14px 18px}
.failure+.failure{margin-top:12px}
.failure dl{display:grid;grid-template-columns:auto 1fr;gap:4px 16px;margin:10px 0 0;font-size:.93rem}
.failure dl:empty{display:none}
dt{color:var(--soft)}
dd{margin:0}
figure{margin:0}
figcaption{margin-top:10px}
.chart{display:block;overflow:visible}
.chart text{fill:var(--ink);font-size:13.5px}
.chart .tick{fill:var(--faint);font-size:11.5px}
.chart .spent{fill:var(--soft);font-size:12.5px}
.chart .grid{stroke:var(--line);stroke-width:1}
.chart .track{fill:var(--track);opacity:.6}
.chart .budget{fill:var(--budget)}
.chart .bar{fill:var(--bar)}
.chart .failed .bar,.chart .over .bar{fill:var(--bad)}
.chart .refused .bar,.chart .cancelled .bar,.chart .running .bar{fill:var(--warn)}
.chart .failed .name,.chart .over .spent{fill:var(--bad)}
.chart .refused .name,.chart .cancelled .name{fill:var(--warn)}
.chart .outage{fill:var(--outage)}
.chart .outage-label{fill:var(--bad);font-size:12px;font-weight:600}
.chart .first-write{stroke:var(--good);stroke-width:2}
.chart .limit-line{stroke:var(--bad);stroke-width:1.5}
table{width:100%;overflow-wrap:break-word;border-collapse:collapse;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:9px 14px 9px 0;border-top:1px solid var(--line);font-weight:400}
thead th{border-top:0;color:var(--soft);font-size:.8rem;padding-top:0}
tbody th{font-weight:600}
td:first-child{white-space:nowrap;color:var(--soft)}
.count{color:var(--soft);font-weight:500;font-size:.85em}
.lost{list-style:none;margin:12px 0 0;padding:0;columns:320px;column-gap:28px}
.lost li{break-inside:avoid;padding:1px 0}
.lost span{color:var(--faint)}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:14px 28px;margin:0;font-size:.93rem}
.facts dt{font-size:.82rem}
summary{cursor:pointer;font-weight:650}
.log{list-style:none;padding:0;margin-top:14px;font-size:.9rem}
.log li{display:grid;grid-template-columns:84px 1fr;gap:12px;padding:4px 0;border-top:1px solid var(--line)}
.log time{color:var(--faint)}
.log .phase_started span{font-weight:650}
.log .step_failed span,.log .run_interrupted span{color:var(--bad)}
footer{padding:8px 4px 0}
@media (max-width:640px){
main{padding:12px 10px 28px}
section,details,.hero{padding:16px}
.cards{padding:0;gap:12px}
.hero{gap:14px}
.seal{width:42px;height:42px;font-size:22px}
h1{font-size:1.3rem}
.value{font-size:2rem}
.facts{grid-template-columns:1fr}
.chart .name{font-size:12.5px}
.chart .spent{font-size:11.5px}
.chart .limit{display:none}
.stack thead{display:none}
.stack tr{display:block;padding:10px 0;border-top:1px solid var(--line)}
.stack tr:first-child{border-top:0}
.stack td,.stack tbody th{display:grid;grid-template-columns:84px 1fr;border:0;padding:2px 0;white-space:normal}
.stack td:before,.stack tbody th:before{content:attr(data-label);color:var(--soft);font-weight:400;font-size:.86rem}
.stack td>.badge{justify-self:start}
.log li{grid-template-columns:70px 1fr;gap:8px}
}
@media print{
:root{--ink:#000;--soft:#444;--faint:#666;--page:#fff;--card:#fff;--line:#bbb;--track:#eee;--good:#0b6b3f;
--good-bg:#fff;--bad:#b00020;
--bad-bg:#fff;--warn:#8a5200;--warn-bg:#fff;--info:#1f58c4;--info-bg:#fff;--bar:#3a6fd8;--budget:#d5e0f6;
--outage:rgba(208,46,52,.15)}
@page{margin:14mm}
html{font-size:11px}
h2{break-after:avoid}
.next{padding-left:12px}
body{font-size:11px;-webkit-print-color-adjust:exact;print-color-adjust:exact}
main{max-width:none;padding:0}
section,details,.hero{border-radius:0;padding:10px 0;margin:0 0 8px;border:0;border-top:1px solid var(--line)}
.hero{border-top:4px solid var(--tone)}
.cards{grid-template-columns:repeat(3,1fr);gap:10px}
.card{padding:12px;break-inside:avoid}
.value{font-size:1.7rem}
.badge{border:1px solid currentColor}
figure,.failure,tr,.next{break-inside:avoid}
details::details-content{content-visibility:visible;display:block;height:auto}
.seal{border:2px solid currentColor}
}
"""

STYLE = "".join(_SOURCE.splitlines())
