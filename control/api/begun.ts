// A stream of which the first item is there: what refuses it is known before the reply begins.

/** Rejects with what the first item fails with. */
export async function begun<T>(items: AsyncIterable<T>): Promise<AsyncIterable<T>> {
  const iterator = items[Symbol.asyncIterator]()
  const first = await iterator.next()
  return rest(iterator, first)
}

async function* rest<T>(
  iterator: AsyncIterator<T>,
  first: IteratorResult<T>,
): AsyncGenerator<T, undefined> {
  try {
    for (let item = first; item.done !== true; item = await iterator.next()) yield item.value
  } finally {
    await iterator.return?.()
  }
}
