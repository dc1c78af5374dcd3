// Where a module that runs in its own thread or process lies: beside the one that starts it, with the same ending. Sources
// end in `.ts`, the emitted JavaScript of a release in `.js`; nothing rewrites a URL.

/** The module `name` in the folder of `from` (an `import.meta.url`). */
export function siblingModule(from: string, name: string): URL {
  return new URL(`./${name}.${from.endsWith('.ts') ? 'ts' : 'js'}`, from)
}
