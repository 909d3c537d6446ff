"""How a page looks, by day and by night, and the one thing it can do: sort.

Colors are those of Okabe and Ito, which the color-blind tell apart; where they
mean something a shape or a sign says it too.
"""

TONES = {  # name: (on white, on black)
  'blue': ('#0072B2', '#56B4E9'),
  'red': ('#D55E00', '#F0803C'),
  'green': ('#009E73', '#2CC59B'),
  'orange': ('#B87F00', '#E69F00'),
  'purple': ('#A8508A', '#CC79A7'),
  'sky': ('#2E8FC4', '#9AD0F2'),
  'ink': ('#1d2129', '#e8eaed'),
  'grey': ('#6b7280', '#9aa2ae'),
}


def _variables(which: int) -> str:
  return ''.join(f'--{name}:{pair[which]};' for name, pair in TONES.items())


CSS = (
  ':root{color-scheme:light dark;--paper:#fff;--soft:#f5f6f8;--line:#dde1e6;'
  + _variables(0)
  + '}@media(prefers-color-scheme:dark){:root{--paper:#14171c;--soft:#1d2128;'
  '--line:#343a44;' + _variables(1) + '}}'
  """
*{box-sizing:border-box}
body{margin:0 auto;max-width:1440px;padding:1.5rem clamp(.8rem,3vw,2.5rem) 4rem;
 background:var(--paper);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:clamp(1.5rem,4vw,2.1rem);line-height:1.2;margin:.4em 0 .5em}
h2{font-size:1.4rem;margin:1.7em 0 .4em;padding-top:.7em;
 border-top:2px solid var(--line)}
h3{font-size:1.08rem;margin:1.9em 0 .4em}
p,ul{max-width:76ch;margin:.5em 0}
ul{padding-left:1.2em}
.lead{font-size:1.12rem}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;margin:1.2em 0 0}
a{color:var(--blue)}
small,.muted,figcaption,caption{color:var(--grey);font-size:.84rem}
code,pre{font:.85em/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--soft);padding:.8em 1em;border-radius:8px;overflow-x:auto;
 white-space:pre-wrap;overflow-wrap:anywhere}
.scroll{overflow-x:auto;width:fit-content;min-width:min(100%,26rem);
 max-width:100%;margin:.8em 0;border:1px solid var(--line);
 border-radius:8px}
table{border-collapse:collapse;min-width:100%;font-size:.82rem;
 font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.6em .8em;caption-side:top}
caption span{position:sticky;left:.8em;display:inline-block;
 max-width:min(76ch,calc(100vw - 3.5rem))}
th,td{padding:.4em .5em;text-align:right;vertical-align:top;white-space:nowrap;
 border-top:1px solid var(--line)}
th{font-weight:600}
thead th{vertical-align:bottom;white-space:normal;background:var(--soft);border-top:0}
tbody th,thead th:first-child,td.text,th.text{text-align:left}
tbody th{position:sticky;left:0;background:var(--paper);
 border-right:1px solid var(--line)}
thead th:first-child{position:sticky;left:0;z-index:1}
td.wrap{white-space:normal;min-width:14em;overflow-wrap:anywhere}
td small,th small{display:block;font-weight:400;font-size:.72rem}
td.same{background:color-mix(in srgb,var(--blue) 15%,transparent)}
.sign{color:var(--blue);font-weight:700}
tr.frame th,tr.frame td{font-style:italic;background:var(--soft)}
tr.frame td.same{background:color-mix(in srgb,var(--blue) 15%,var(--soft))}
td.tint,tr.frame td.tint{background:color-mix(in srgb,var(--tone) calc(var(--part)*70%),transparent)}
th button{all:unset;cursor:pointer}
th button:hover,th button:focus-visible{text-decoration:underline}
th[aria-sort] button::after{content:" \\25B2"}
th[aria-sort=descending] button::after{content:" \\25BC"}
figure{margin:1em 0}
.panels{display:grid;gap:1rem;overflow-x:auto;align-items:start;
 grid-template-columns:repeat(auto-fit,minmax(min(100%,var(--least)),1fr))}
svg{display:block;width:100%;height:auto;overflow:visible;
 font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
svg text{fill:var(--ink)}
svg .quiet{fill:var(--grey)}
svg .title{font-weight:600;font-size:12px}
svg .grid{stroke:var(--line);stroke-width:1}
svg .floor{fill:var(--grey);opacity:.22}
svg .inside{fill:var(--paper);font-size:9px;font-weight:700}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;font-size:.84rem;margin:.5em 0;
 padding:0;max-width:none;list-style:none}
.key svg{display:inline-block;width:1.9em;height:1.35em;vertical-align:-.3em}
.numbered{columns:15em;font-size:.84rem;max-width:none;padding-left:2.2em}
details{margin:1em 0;border:1px solid var(--line);border-radius:8px;
 padding:.5em .9em}
summary{cursor:pointer;font-weight:600}
@media(max-width:640px){tbody th{white-space:normal;min-width:9em;
 max-width:40vw}}
@media print{nav,script{display:none}details>*{display:block}}
"""
)

# A click on a head sorts by its column: by `data-v`, or by the words.
SORT = """
for(const b of document.querySelectorAll('th button'))b.onclick=()=>{
const h=b.parentNode,t=h.closest('table'),i=h.cellIndex,o=t.tBodies[0];
const d=h.getAttribute('aria-sort')==='ascending'?-1:1;
const v=r=>{const c=r.cells[i],n=parseFloat(c.dataset.v);
return c.dataset.v===undefined?c.textContent:isNaN(n)?Infinity:n};
const q=(x,y)=>x<y?-1:x>y?1:0;
[...o.rows].sort((x,y)=>d*q(v(x),v(y))).forEach(r=>o.append(r));
t.querySelectorAll('[aria-sort]').forEach(x=>x.removeAttribute('aria-sort'));
h.setAttribute('aria-sort',d>0?'ascending':'descending')}
"""
