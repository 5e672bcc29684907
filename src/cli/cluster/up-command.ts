/**
 * `onefold cluster up`: a whole cluster on this machine. Servers of the engine and nodes are processes of their own; all end with this one.
 *
 * CU1 Everything is in one directory, from which the same cluster comes up again.
 * CU2 What ends by itself or is killed is started again, unless told otherwise.
 * CU3 At the end nodes go first and finish what they have accepted, then the servers.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { CommandFailure, exitCodes } from "../exit-code.ts";
import type { Output } from "../output.ts";
import { listenForStop } from "../stop-signals.ts";
import { findSystemModule } from "../system-path.ts";
import { HealthWatch, type NodeHealth } from "./health-watch.ts";
import { NatsCluster } from "./nats-cluster.ts";
import { natsPlan } from "./nats-plan.ts";
import { nodeName, restartMs, type UpOptions } from "./up-options.ts";
import { provideNatsServer } from "./provided-nats-server.ts";
import { type NodeEnd, NodeProcess } from "./node-process.ts";
