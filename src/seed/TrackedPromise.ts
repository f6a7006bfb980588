/**
 * A promise that knows whether anybody waits for it, and whose rejection is never unhandled.
 */
export class TrackedPromise<A> extends Promise<A> {
  /** Whether `then` was called: by `await`, `catch`, `Promise.all` or a caller of its own. */
  isAwaited = false

  /** What is derived from it is a plain promise. */
  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  constructor(executor: ConstructorParameters<typeof Promise<A>>[0]) {
    super(executor)
    // Handled from birth: a rejection that comes before anybody waits must not end the process.
    super.then(undefined, () => undefined)
  }

  // A promise it is; that its `then` takes note is its purpose.
  // oxlint-disable-next-line unicorn/no-thenable
  override then<B = A, C = never>(
    onFulfilled?: ((value: A) => B | PromiseLike<B>) | null,
    onRejected?: ((reason: unknown) => C | PromiseLike<C>) | null
  ): Promise<B | C> {
    this.isAwaited = true
    return super.then(onFulfilled, onRejected)
  }

  /** One that is rejected already. */
  static rejected(reason: unknown): TrackedPromise<never> {
    return new TrackedPromise<never>((_, reject) => reject(reason))
  }
}
