#!/usr/bin/env node
/** The program `onefold`. Reads the command line, runs one command, and ends with an exit code that means something. */
import { processOutput } from "./output.ts";
import { runProgram } from "./run.ts";

process.exitCode = await runProgram(process.argv.slice(2), processOutput());
