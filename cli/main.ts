// The programs sluice, tsh and tctl begin here: `main.ts <program> <words…>`. Runs when imported (scripts/bin.mjs does). Each
// program is loaded only when it was named.

const { runMain } = await import('./run-main.ts')
process.exitCode = await runMain(process.argv.slice(2))
