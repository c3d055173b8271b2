// Diagrams, drawn as pictures: what is in a picture runs nothing and loads nothing, so the policy of the page stays as it is.

import { renderMermaidSVG } from 'beautiful-mermaid'
import { readable, restored } from './mermaid'

/** The picture of a diagram in the colours of the page. Throws an Error that says what is wrong with it. */
export function drawn(source: string): Blob {
  const style = getComputedStyle(document.body)
  const probe = document.createElement('span')
  document.body.append(probe)
  const colour = (name: string) => {
    probe.style.color = `var(--${name})`
    return getComputedStyle(probe).color
  }
  const colours = { bg: colour('sheet'), fg: colour('ink'), line: colour('soft'), accent: colour('accent'), muted: colour('soft'), surface: colour('accent-sunk'), border: colour('line-strong') }
  probe.remove()
  const svg = renderMermaidSVG(readable(source), { ...colours, font: style.fontFamily.replaceAll('"', "'"), padding: 12, transparent: true })
  if (!svg.includes('<text')) throw new Error('nothing in it could be read')
  return new Blob([restored(svg).replace(/@import url\([^)]*\);?/g, '')], { type: 'image/svg+xml' })
}
