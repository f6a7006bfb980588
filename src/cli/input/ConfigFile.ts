/**
 * The config file of the command, `es-ops.config.ts` or `.js` in the working directory: its settings, or the reason why it cannot be used.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import { existsSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type * as EsOps from "../../EsOps.js"
import type { Feature } from "../../event/Feature.js"
import { describe } from "../../operation/ErrorDescription.js"
import { SettingError } from "../../operation/OperationConfig.js"
import * as ModuleLoader from "../../seed/source/ModuleLoader.js"
import type { Recorded } from "../../seed/source/SeedSource.js"
import { configFileNames } from "../ConfigFileNames.js"
import { UsageError } from "../UsageError.js"

/** The settings in the file. What its layers require is known to its author only; a service that is missing shows when it is used. */
export type FileSettings = EsOps.CommandSettings<Feature<never>, Recorded<never>, unknown, never>

/** Reads the file that `--config` names, or else the one in the working directory, if there is one. */
export const load = (given: Option.Option<string>): Effect.Effect<FileSettings, UsageError | SettingError> =>
  Effect.gen(function* () {
    const path = Option.orElse(given, () => Option.fromNullable(configFileNames.find((name) => existsSync(name))))
    if (Option.isNone(path)) return {}
    const file = resolve(path.value)
    if (!existsSync(file)) return yield* new UsageError({ reason: `--config: ${file} does not exist` })
    const module = yield* Effect.tryPromise({
      try: () => ModuleLoader.load(file, "config"),
      catch: (error) => new SettingError({ key: file, reason: `it cannot be loaded: ${describe(error).message}` })
    })
    const exported = Predicate.hasProperty(module, "default") ? module.default : undefined
    const settings = Predicate.hasProperty(exported, "default") ? exported.default : exported
    const decoded = yield* Either.mapLeft(decode(settings), (reason) => new SettingError({ key: file, reason }))
    // Its paths are its own, wherever the command is run.
    return isText(decoded.seeds) ? { ...decoded, seeds: resolve(dirname(file), decoded.seeds) } : decoded
  })

const isText = Predicate.isString
const anything = (): boolean => true

const isFeatures = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every(
    (feature: unknown) =>
      Predicate.isRecord(feature) &&
      isText(feature["name"]) &&
      ["handlers", "projections", "tables"].every((part) => Array.isArray(feature[part]))
  )

/** The test of each key, with the words for what passes it; the settings of operations are checked where they are used. */
const keys: { readonly [key in keyof FileSettings]-?: readonly [(value: unknown) => boolean, string] } = {
  seeds: [Predicate.or(isText, Predicate.isRecord), "a folder, or seeds by their ids"],
  features: [isFeatures, "an array of features made by Feature.make"],
  dispatcher: [Layer.isLayer, "a layer of WriteDispatcher"],
  layer: [Layer.isLayer, "a layer of the application's services"],
  cluster: [Layer.isLayer, "a layer of lanes, made with layerCluster"],
  databaseUrl: [isText, "a text"],
  appliedBy: [(value) => value === "cli" || value === "ci-pipeline", '"cli" or "ci-pipeline"'],
  lockTimeout: [anything, "a duration"],
  seedTimeout: [anything, "a duration"],
  late: [(value) => value === "run" || value === "fail", '"run" or "fail"'],
  renamed: [(value) => value === "run" || value === "fail", '"run" or "fail"'],
  version: [isText, "a text"],
  table: [isText, "a text"],
  attemptsTable: [isText, "a text"],
  schema: [isText, "a text"],
  lockKey: [Predicate.or(Predicate.isNumber, Predicate.isBigInt), "an integer"],
  allowNonAtomicWriter: [Predicate.isBoolean, "true or false"]
}

const decode = (settings: unknown): Either.Either<FileSettings, string> => {
  if (!Predicate.isRecord(settings)) return Either.left("its default export is not an object: use EsOps.config({ … })")
  const wrong = Object.entries(settings).flatMap(([key, value]) => wrongIn(key, value))
  if (wrong.length > 0) {
    const names = Object.keys(keys)
    const list = Object.keys(settings).every((key) => names.includes(key)) ? [] : [`there are: ${names.join(", ")}`]
    return Either.left([...wrong, ...list].join("; "))
  }
  return isFileSettings(settings) ? Either.right(settings) : Either.left("it cannot be used")
}

const wrongIn = (key: string, value: unknown): ReadonlyArray<string> => {
  const known = Object.entries(keys).find(([name]) => name === key)?.[1]
  if (known === undefined) return [`"${key}" is no setting`]
  const [isValid, expected] = known
  return value === undefined || isValid(value) ? [] : [`${key} is not ${expected}`]
}

/** True of settings whose every key passed its test. */
const isFileSettings = (settings: object): settings is FileSettings => Object.keys(settings).every((key) => key in keys)
