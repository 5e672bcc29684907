/** The report's style. Colours of the subjects are those of Okabe and Ito, which people who see few colours tell apart as well. */
export const reportStyle = `
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --ink: #1c1e21; --soft: #5d636b; --rule: #dcdedf; --card: #ffffff;
  --in-process: #0072b2; --websocket: #2f9fd8; --http: #009e73; --redis: #d55e00; --postgres: #b0609a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14161a; --ink: #e7e9ec; --soft: #9aa1aa; --rule: #33383f; --card: #1b1e23;
    --in-process: #3d9be0; --websocket: #7cc9f5; --http: #2fc49a; --redis: #f0803c; --postgres: #d98fc0;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1040px; padding: 32px 20px 64px; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 28px; margin: 0 0 8px; }
h2 { font-size: 19px; margin: 0; }
h3 { font-size: 13px; font-weight: 600; margin: 16px 0 4px; color: var(--soft); }
p { max-width: 74ch; margin: 8px 0; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 16px 20px; margin: 20px 0; }
.plots { display: flex; flex-wrap: wrap; gap: 8px 40px; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); }
svg .group { font-weight: 600; }
svg .label, svg .tick { fill: var(--soft); }
svg .value { font-variant-numeric: tabular-nums; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .reach { fill: transparent; stroke: none; }
svg g line { stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; list-style: none; padding: 0; margin: 12px 0; }
.key li::before { content: ""; display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px; background: currentColor; vertical-align: -1px; }
.key span { color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { text-align: right; padding: 3px 10px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
summary { cursor: pointer; color: var(--soft); margin-top: 10px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 8px 0; }
dt { color: var(--soft); }
dd { margin: 0; }
${["in-process", "websocket", "http", "redis", "postgres"]
  .map(
    (name) =>
      `.${name} { color: var(--${name}); fill: var(--${name}); stroke: var(--${name}); } rect.${name} { stroke: none; }`,
  )
  .join("\n")}
`;
