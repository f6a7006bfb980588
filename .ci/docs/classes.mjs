/**
 * Leaves out of the reference what classes made by `Context.Tag` and `Schema.TaggedError` have from Effect: their constructors, and the
 * source text of the call that made them, where each member is said to come from.
 */
import { Converter, ReflectionKind } from "typedoc"

export const load = ({ converter }) => {
  converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const made of project.getReflectionsByKind(ReflectionKind.Constructor)) project.removeReflection(made)
    for (const member of project.getReflectionsByKind(ReflectionKind.All)) {
      delete member.inheritedFrom
      delete member.overwrites
      delete member.defaultValue
    }
  })
  // A way to a member that is inherited is made after that.
  converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    for (const member of project.getReflectionsByKind(ReflectionKind.All)) {
      delete member.inheritedFrom
      delete member.overwrites
    }
  })
}
