/** Runs a user's schema (Standard Schema) on a value: synchronously, because commands are. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { ErrorCode } from "../base/errors.ts";
import { OnefoldError } from "../base/errors.ts";

/** One complaint of a schema. `path` leads from the root to the part; keys of maps as text, positions as numbers. */
export interface ValidationIssue {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

export interface ValidationOptions {
  /** What is validated, for the message: "the input of deposit". Default: "the input". */
  readonly what?: string;
  /** The code of the error. Default: `invalid-input`. */
  readonly code?: Extract<ErrorCode, "invalid-input" | "invalid-state">;
}

/** A schema's complaints are bounded like everything that goes to a caller (G9). */
const issuesMax = 32;

/**
 * What the schema makes of `input` (its output: defaults filled in, text trimmed, whatever it does).
 * Throws `invalid-input`, or `options.code`, with `details: { issues: ValidationIssue[] }` (retry never);
 * `invalid-definition` if the schema answers with a promise or throws.
 */
export function validate<S extends StandardSchemaV1>(
  schema: S,
  input: unknown,
  options?: ValidationOptions,
): StandardSchemaV1.InferOutput<S> {
  let result: StandardSchemaV1.Result<unknown> | Promise<StandardSchemaV1.Result<unknown>>;
  try {
    result = schema["~standard"].validate(input);
  } catch (error) {
    throw new OnefoldError("invalid-definition", `The schema of ${options?.what ?? "the input"} threw`, {
      cause: error,
    });
  }
  if (result instanceof Promise) throw refuseAsynchronous(result, options);
  if (result.issues === undefined) return result.value as StandardSchemaV1.InferOutput<S>;
  const what = options?.what ?? "the input";
  const issues = result.issues.slice(0, issuesMax).map(toIssue);
  const first = issues[0];
  const place = first === undefined || first.path.length === 0 ? "" : ` at ${first.path.join(".")}`;
  throw new OnefoldError(
    options?.code ?? "invalid-input",
    `${sentenceStart(what)} does not match its schema${place}: ${first?.message ?? "it gave no reason"}`,
    { details: { issues } },
  );
}

/**
 * Zod answers with a promise both for asynchronous checks and where a check throws. Either way its later rejection has
 * nobody to go to but this error, which is already on its way.
 */
function refuseAsynchronous(result: Promise<unknown>, options: ValidationOptions | undefined): OnefoldError {
  const error = new OnefoldError(
    "invalid-definition",
    `The schema of ${options?.what ?? "the input"} is asynchronous, or one of its checks threw: checks must be synchronous and return their verdict`,
  );
  result.catch((cause: unknown) => {
    error.cause ??= cause;
  });
  return error;
}

function toIssue(issue: StandardSchemaV1.Issue): ValidationIssue {
  const path = (issue.path ?? []).map((segment) => {
    const key = typeof segment === "object" ? segment.key : segment;
    return typeof key === "number" ? key : String(key);
  });
  return { path, message: issue.message };
}

function sentenceStart(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
