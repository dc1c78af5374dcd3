// The `sluice` program: the daemon and what prepares it. Commands load their parts when they run.

import { Command } from 'commander'

import { VERSION } from './version.ts'

export function sluiceProgram(): Command {
  const program = new Command('sluice').description(
    'Sluice: certificate-only access to what is behind NAT, through one public port',
  )
  program.addHelpText(
    'after',
    '\nExamples:\n  sluice quickstart\n  sluice configure --cluster-name=example.com -o /etc/sluice.yaml\n  sluice start -c /etc/sluice.yaml\n',
  )
  addStart(program)
  addConfigure(program)
  addQuickstart(program)
  program
    .command('version')
    .description('print the version')
    .addHelpText('after', '\nExample:\n  sluice version\n')
    .action(() => {
      process.stdout.write(`Sluice v${VERSION} node ${process.version}\n`)
    })
  return program
}

function addStart(program: Command): void {
  program
    .command('start')
    .description('start the services that sluice.yaml enables on this machine')
    .option(
      '-c, --config <file>',
      'configuration file',
      process.env['SLUICE_CONFIG_FILE'] ?? '/etc/sluice.yaml',
    )
    .addHelpText(
      'after',
      '\nExample:\n  sluice start -c /etc/sluice.yaml\n\nSIGTERM and Ctrl-C drain and stop; SIGHUP reloads the configuration.\n',
    )
    .action(async (options: { config: string }) => {
      const { start } = await import('./commands/start.ts')
      await start(options.config)
    })
}

function addConfigure(program: Command): void {
  program
    .command('configure')
    .description('write a configuration file to begin with')
    .option('--roles <list>', 'auth, proxy, db (comma-separated)', 'auth,proxy')
    .option('--cluster-name <name>', 'name of the cluster; cannot change later')
    .option('--public-addr <host:port>', 'what clients dial')
    .option('--data-dir <folder>', 'where state is kept', '/var/lib/sluice')
    .option('--proxy <host:port>', 'the proxy an agent joins through')
    .option('--token <token>', 'join token of an agent or proxy')
    .option('--ca-pin <pin>', 'pin of the cluster')
    .option('-o, --output <file>', 'file to write; `-` or absent: standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  sluice configure --cluster-name=example.com --public-addr=example.com:443 -o /etc/sluice.yaml\n  sluice configure --roles=db --proxy=example.com:443 --token=… --ca-pin=sha256:…\n',
    )
    .action(async (options: Record<string, string>) => {
      const { configure } = await import('./commands/configure.ts')
      configure(options)
    })
}

function addQuickstart(program: Command): void {
  program
    .command('quickstart')
    .description('start everything on this machine, enrol a PostgreSQL, run one query through it')
    .option('--once', 'end after the query')
    .option(
      '--data-dir <folder>',
      'keep state there; absent: a temporary folder, removed at the end',
    )
    .option('--port <port>', 'public port; absent: 443 where allowed, else 3080 or a free one')
    .option(
      '--database <uri>',
      'a PostgreSQL that is already running, host:port, and trusts the cluster’s certificates',
    )
    .addHelpText('after', '\nExamples:\n  sluice quickstart\n  sluice quickstart --once\n')
    .action(
      async (options: { once?: true; dataDir?: string; port?: string; database?: string }) => {
        const { quickstart } = await import('./commands/quickstart.ts')
        await quickstart(options)
      },
    )
}
