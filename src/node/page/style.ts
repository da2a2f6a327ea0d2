/**
 * How the page looks: one accent, numbers that stand under each other, light or dark as the system is.
 */
export const style = `
:root {
  color-scheme: light dark;
  --ground: light-dark(#fbfaf8, #15171a);
  --raised: light-dark(#ffffff, #1c1f23);
  --text: light-dark(#1d2125, #e8e6e1);
  --quiet: light-dark(#5c646c, #a0a6ad);
  --rule: light-dark(#e3e0da, #2d3238);
  --accent: light-dark(#0b6b5b, #4fc3ab);
  --on-accent: light-dark(#ffffff, #0d1512);
  --tint: light-dark(#e4f1ee, #17322d);
  --danger: light-dark(#b3261e, #ff9c92);
  --danger-tint: light-dark(#fbeae8, #3a1e1c);
  --second: light-dark(#8a6d1f, #d9b65c);
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto; max-width: 72rem; padding: 0 1.5rem 3rem;
  background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", "Liberation Sans", Roboto, sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.25; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: .95rem; font-weight: 600; margin: 0 0 .4rem; }
a { color: var(--accent); text-underline-offset: .15em; text-decoration-thickness: 1px; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; }
.quiet { color: var(--quiet); }
.number { font-variant-numeric: tabular-nums; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--raised); padding: .3rem .6rem; }
.escape { color: var(--second); font: .8em/1 ui-monospace, monospace; border: 1px solid currentColor; border-radius: 3px; padding: 0 .2em; margin: 0 .1em; }
.badge { font-size: .8rem; font-weight: 600; color: var(--danger); background: var(--danger-tint); border-radius: 99px; padding: .1rem .6rem; }
button, input, textarea { font: inherit; color: inherit; }
button {
  background: var(--raised); border: 1px solid var(--rule); border-radius: 6px; padding: .35rem .9rem; cursor: pointer;
}
button:hover { border-color: var(--accent); }
button:disabled { opacity: .5; cursor: default; }
button.danger { color: var(--danger); }
button.danger:hover { border-color: var(--danger); }
button.plain { border: 0; background: none; padding: 0; color: var(--accent); text-decoration: underline; }
input:not([type=checkbox]), textarea {
  width: 100%; background: var(--raised); border: 1px solid var(--quiet); border-radius: 6px; padding: .4rem .7rem;
}
::placeholder { color: var(--quiet); opacity: 1; }

header { display: flex; align-items: baseline; gap: 1rem; padding: 1.1rem 0 1.4rem; }
header .home { font-weight: 650; color: var(--text); text-decoration: none; letter-spacing: -.01em; }
header #server { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-size: .875rem; }
#state { font-size: .875rem; color: var(--quiet); text-align: right; }
#state::before { content: ""; display: inline-block; width: .55em; height: .55em; border-radius: 50%; margin-right: .45em; background: var(--quiet); }
[data-state=live] #state::before { background: var(--accent); }
[data-state=away] #state { color: var(--danger); }
[data-state=away] #state::before { background: var(--danger); }
#problem { background: var(--danger-tint); color: var(--danger); padding: .6rem 1rem; border-radius: 6px; margin: 0 0 1.2rem; }

#plots { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2rem; margin-bottom: 2rem; }
.plot { min-width: 0; }
.legend { list-style: none; margin: 0 0 .4rem; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: .875rem; color: var(--quiet); }
.legend b { color: var(--text); font-weight: 600; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: .9em; height: 0; border-top: 2px solid var(--accent); vertical-align: .3em; margin-right: .4em; }
.swatch.ended { border-top: 2px dashed var(--second); }
.drawing { position: relative; border-bottom: 1px solid var(--rule); }
.drawing svg { display: block; width: 100%; height: 4.5rem; }
.drawing .top { position: absolute; top: 0; left: 0; font-size: .75rem; line-height: 1; color: var(--quiet); background: var(--ground); padding: 0 .3em .2em 0; font-variant-numeric: tabular-nums; }
.axis { display: flex; justify-content: space-between; font-size: .75rem; color: var(--quiet); }
.line { fill: none; stroke: var(--accent); stroke-width: 1.5; stroke-linejoin: round; }
.line.ended { stroke: var(--second); stroke-dasharray: 4 3; }
.area { fill: var(--tint); }

.bar { display: flex; align-items: center; gap: 1rem; margin-bottom: .8rem; }
#finding { position: relative; flex: 0 1 24rem; }
#finding kbd { position: absolute; right: .6rem; top: .45rem; font: .8rem/1.4 ui-monospace, monospace; color: var(--quiet); border: 1px solid var(--rule); border-radius: 4px; padding: 0 .4em; pointer-events: none; }
#search:focus + kbd, #search:not(:placeholder-shown) + kbd { display: none; }
#count { margin: 0 0 0 auto; color: var(--quiet); font-size: .875rem; font-variant-numeric: tabular-nums; }
.scrolled { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
thead th { text-align: left; font-size: .8rem; font-weight: 600; color: var(--quiet); padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--rule); }
thead button { all: unset; cursor: pointer; }
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
thead button:hover { color: var(--accent); }
[aria-sort=ascending] button::after { content: " \\2191"; }
[aria-sort=descending] button::after { content: " \\2193"; }
thead th:first-child { width: 34%; }
thead .holder { width: 28%; }
tbody th { text-align: left; font-weight: 500; }
tbody th, td { padding: .42rem .8rem .42rem 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
tbody th a { text-decoration: none; }
tbody th a:hover { text-decoration: underline; }
tbody tr:has(a:focus-visible) { background: var(--tint); }
tbody tr:hover { background: light-dark(#f3f1ec, #1b1e22); }
tbody th a:focus-visible { outline-offset: -2px; }
th.number, td.number { text-align: right; padding-right: .4rem; }
td.since, td.none { color: var(--quiet); }
td.waiting:not(.none) { font-weight: 600; }
.soon { color: var(--second); }
.empty { color: var(--quiet); }
div.empty { text-align: center; padding: 3.5rem 1rem; border: 1px dashed var(--rule); border-radius: 10px; }
.empty .title { font-size: 1.15rem; color: var(--text); margin: 0 0 .2rem; }
#pages { display: flex; justify-content: center; gap: .6rem; margin-top: 1.2rem; }

#one section { margin-top: 2rem; }
.heading { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem .9rem; }
.heading .badge { color: var(--accent); background: var(--tint); }
.heading .badge:empty { display: none; }
.heading .badge[data-is=free] { color: var(--quiet); background: var(--rule); color: var(--text); }
#done:empty { display: none; }
#done { color: var(--accent); }
#holders { list-style: none; padding: 0; margin: 0; display: grid; gap: .8rem; }
.card { background: var(--raised); border: 1px solid var(--rule); border-radius: 10px; padding: 1rem 1.2rem; position: relative; }
.who { margin: 0 7rem .6rem 0; font-weight: 600; overflow-wrap: anywhere; }
.card button { position: absolute; top: .9rem; right: 1rem; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 2.4rem; margin: 0; }
.fact dt { font-size: .8rem; color: var(--quiet); }
.fact dd { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.revoked { margin: .8rem 0 0; overflow-wrap: anywhere; }
#waiting, #more { margin: 0 0 .4rem; }
#queue { margin: 0; padding-left: 2.2rem; font-variant-numeric: tabular-nums; }
#queue li { padding: .2rem 0; overflow-wrap: anywhere; }
#queue li::marker { color: var(--quiet); }
#log { list-style: none; margin: 0; padding: 0; }
.event { display: grid; grid-template-columns: minmax(5rem, max-content) 9rem 1fr; gap: 1rem; padding: .3rem 0; border-bottom: 1px solid var(--rule); }
.event .what { font-weight: 500; }
.event .rest { overflow-wrap: anywhere; min-width: 0; }
.event.taken .what { color: var(--accent); }
.event.lost .what, .event.revoked .what, .event.refused .what, .event.deadlock .what { color: var(--danger); }

dialog { width: min(34rem, calc(100vw - 2rem)); border: 1px solid var(--rule); border-radius: 12px; padding: 1.4rem 1.6rem; background: var(--ground); color: var(--text); box-shadow: 0 1rem 3rem #0005; }
dialog::backdrop { background: #0007; }
dialog h2 { font-size: 1.2rem; }
dialog p { margin: .4rem 0; overflow-wrap: anywhere; }
dialog label { display: block; font-size: .875rem; margin-top: .7rem; }
dialog fieldset { border: 1px solid var(--rule); border-radius: 8px; margin: .9rem 0; padding: .2rem 1rem 1rem; }
dialog legend { font-size: .875rem; font-weight: 600; padding: 0 .3rem; }
dialog details { margin-top: .7rem; font-size: .875rem; }
dialog summary { cursor: pointer; color: var(--accent); }
dialog .check { display: flex; gap: .5rem; align-items: baseline; margin-top: .9rem; }
dialog .check label { margin: 0; font-size: 1rem; }
dialog .check input { accent-color: var(--danger); }
#force-means { font-size: .875rem; }
#revoke-answer { color: var(--danger); min-height: 1.5em; }
.actions { display: flex; justify-content: flex-end; gap: .6rem; }

footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--rule); color: var(--quiet); font-size: .875rem; }
footer h2 { font-size: .875rem; }
footer ul { margin: 0; padding-left: 1.1rem; }
.asking main { max-width: 24rem; margin: 18vh auto 0; display: grid; gap: 1rem; }
.asking form { display: grid; gap: .6rem; }
.asking button { background: var(--accent); color: var(--on-accent); border-color: transparent; }
#wrong { color: var(--danger); margin: 0; }

@media (max-width: 44rem) {
  body { padding: 0 1rem 2rem; }
  #plots { grid-template-columns: 1fr; gap: 1.2rem; }
  .drawing svg { height: 3rem; }
  header { flex-wrap: wrap; gap: .2rem 1rem; }
  header #server { order: 3; flex-basis: 100%; }
  #state { margin-left: auto; }
  .bar { flex-direction: column; align-items: stretch; gap: .4rem; }
  #finding { flex: auto; }
  #count { margin: 0; }
  th.since, td.since, th.held, td.held { display: none; }
  thead th { font-size: .75rem; padding-right: .5rem; }
  thead th:first-child { width: 38%; }
  thead .holder { width: 24%; }
  tbody th, td { white-space: normal; overflow-wrap: anywhere; padding-right: .5rem; }
  #plots .axis { display: none; }
  .event { grid-template-columns: max-content 1fr; gap: .1rem .8rem; }
  .event .rest { grid-column: 1 / -1; }
}
@media (prefers-reduced-motion: no-preference) {
  dialog[open] { animation: appear .12s ease-out; }
  @keyframes appear { from { opacity: 0; transform: translateY(4px); } }
  [data-state=connecting] #state::before { animation: pulse 1.2s ease-in-out infinite; }
  @keyframes pulse { 50% { opacity: .3; } }
}
`
