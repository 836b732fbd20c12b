// Made from the contract by `make api`.

import type { CreateInput, CreateOutput, DeleteInput, DeleteOutput, GetEndpointsOutput, GetInput, GetOutput, ListOutput, UpdateInput, UpdateOutput } from "./contract.js";
import type { InstallContext, Repeatable, SignedRequests } from "./requests.js";

/**
 * The host operations, on behalf of one install.
 *
 * A negative outcome is returned, with `success` false. What kept an operation from being
 * considered at all, and a read that has no result, reject with a `ServiceError`.
 */
export class SchedulerHost {
  readonly #requests: SignedRequests;
  readonly #install: InstallContext;

  constructor(requests: SignedRequests, install: InstallContext) {
    this.#requests = requests;
    this.#install = install;
  }

  /** `ext.scheduler.list`, a read. */
  list(): Promise<ListOutput> {
    return this.#requests.ask<ListOutput>(this.#install, "list", {});
  }

  /** `ext.scheduler.get`, a read. */
  get(input: GetInput): Promise<GetOutput> {
    return this.#requests.ask<GetOutput>(this.#install, "get", input);
  }

  /** `ext.scheduler.create`, made at most once for each `jti`. */
  create(input: CreateInput, repeat: Repeatable = {}): Promise<CreateOutput> {
    return this.#requests.ask<CreateOutput>(this.#install, "create", input, repeat);
  }

  /** `ext.scheduler.update`, made at most once for each `jti`. */
  update(input: UpdateInput, repeat: Repeatable = {}): Promise<UpdateOutput> {
    return this.#requests.ask<UpdateOutput>(this.#install, "update", input, repeat);
  }

  /** `ext.scheduler.delete`, made at most once for each `jti`. */
  delete(input: DeleteInput, repeat: Repeatable = {}): Promise<DeleteOutput> {
    return this.#requests.ask<DeleteOutput>(this.#install, "delete", input, repeat);
  }

  /** `ext.scheduler.getEndpoints`, a read. */
  getEndpoints(): Promise<GetEndpointsOutput> {
    return this.#requests.ask<GetEndpointsOutput>(this.#install, "getEndpoints", {});
  }
}
