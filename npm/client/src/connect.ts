import { connect, type ConnectionOptions, type NatsConnection } from "@nats-io/transport-node";

import { CannotConnectError } from "./errors.js";
import { SchedulerHost } from "./host.js";
import { SignedRequests, type InstallContext, type RequestSettings } from "./requests.js";
import { keyFromFile } from "./token.js";

/** Where and as whom to connect; further members are those of the NATS client. */
export interface SchedulerOptions extends ConnectionOptions {
  /** JWK set to sign with; read again when it changes. */
  readonly keyFile: string;
  readonly requests?: Partial<RequestSettings>;
}

/** A connection on which any install can be spoken for. */
export class SchedulerClient {
  readonly connection: NatsConnection;
  readonly #requests: SignedRequests;

  constructor(connection: NatsConnection, requests: SignedRequests) {
    this.connection = connection;
    this.#requests = requests;
  }

  /** The operations on behalf of one install. */
  host(install: InstallContext): SchedulerHost {
    return new SchedulerHost(this.#requests, install);
  }

  /** Close the connection; requests in flight reject. */
  close(): Promise<void> {
    return this.connection.close();
  }
}

/**
 * A ready client, with what such a connection needs set right: it reconnects without end, finds a
 * frozen server within seconds, and receives replies where the shipped `nats.conf` lets a Runner.
 *
 * Rejects with a `CannotConnectError`, or an `InvalidKeySetError`.
 */
export async function connectScheduler(options: SchedulerOptions): Promise<SchedulerClient> {
  const { keyFile, requests, ...login } = options;
  const key = keyFromFile(keyFile);
  let connection: NatsConnection;
  try {
    connection = await connect({
      name: "ext-scheduler client",
      inboxPrefix: "_INBOX_runner",
      maxReconnectAttempts: -1,
      reconnectTimeWait: 1_000,
      pingInterval: 3_000,
      maxPingOut: 2,
      ...login,
    });
  } catch (error) {
    throw new CannotConnectError(error instanceof Error ? error.message : String(error));
  }
  return new SchedulerClient(connection, new SignedRequests(connection, key, requests));
}
