// Markdown as safe HTML, block by block: while an answer is being said only its last block changes.
//
// Nothing of it is trusted: no HTML of the text's own, no picture from anywhere (the policy of the page would refuse it, and here it
// becomes a link), and a sanitiser looks at what is left.

import DOMPurify from 'dompurify'
import MarkdownIt from 'markdown-it'

const markdown = new MarkdownIt({ html: false, linkify: true, breaks: false })

markdown.renderer.rules.image = (tokens, at) => {
  const token = tokens[at]!
  const src = String(token.attrGet('src') ?? '')
  const says = markdown.utils.escapeHtml(token.content || src)
  return `<a href="${markdown.utils.escapeHtml(src)}" rel="noreferrer noopener" target="_blank">picture: ${says}</a>`
}

const opened = markdown.renderer.rules.link_open
markdown.renderer.rules.link_open = (tokens, at, options, env, self) => {
  tokens[at]!.attrSet('rel', 'noreferrer noopener')
  tokens[at]!.attrSet('target', '_blank')
  return opened ? opened(tokens, at, options, env, self) : self.renderToken(tokens, at, options)
}

// Formulas: between dollars or \( \) and \[ \]. What is between them is typeset later, when KaTeX has come.
function formula(open: string, close: string, display: boolean) {
  return (state: { src: string; pos: number; push: (type: string, tag: string, nesting: 0) => { content: string; meta: Record<string, unknown> | null } }, silent: boolean) => {
    if (!state.src.startsWith(open, state.pos)) return false
    const end = state.src.indexOf(close, state.pos + open.length)
    const inner = end < 0 ? '' : state.src.slice(state.pos + open.length, end)
    if (!inner.trim() || (open === '$' && (/^\s|\s$|\n/.test(inner) || /\d/.test(state.src[end + 1] ?? '')))) return false
    if (!silent) {
      const token = state.push('formula', 'span', 0)
      token.content = inner
      token.meta = { display }
    }
    state.pos = end + close.length
    return true
  }
}
markdown.inline.ruler.before('escape', 'formula1', formula('$$', '$$', true) as never)
markdown.inline.ruler.before('escape', 'formula2', formula('\\[', '\\]', true) as never)
markdown.inline.ruler.before('escape', 'formula3', formula('\\(', '\\)', false) as never)
markdown.inline.ruler.before('escape', 'formula4', formula('$', '$', false) as never)
markdown.renderer.rules.formula = (tokens, at) => {
  const token = tokens[at]!
  return `<span class="formula" data-display="${token.meta?.display === true}">${markdown.utils.escapeHtml(token.content)}</span>`
}

DOMPurify.setConfig({
  ALLOWED_TAGS: ['a', 'b', 'blockquote', 'br', 'code', 'del', 'em', 'h1', 'h2', 'h3', 'h4', 'h5', 'h6', 'hr', 'i', 'li', 'ol', 'p', 'pre', 's',
    'span', 'strong', 'sub', 'sup', 'table', 'tbody', 'td', 'th', 'thead', 'tr', 'ul'],
  ALLOWED_ATTR: ['href', 'rel', 'target', 'class', 'start', 'data-display'],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|#)/i,
  ADD_URI_SAFE_ATTR: ['rel', 'target', 'start', 'data-display'],
  RETURN_TRUSTED_TYPE: true,
})
// `style` is what alignment in tables would be written as, and the page's policy refuses it: a class says it.
markdown.core.ruler.push('alignment', (state) => {
  for (const token of state.tokens) {
    const style = String(token.attrGet('style') ?? '')
    if (style) {
      token.attrs = (token.attrs ?? []).filter(([name]) => name !== 'style')
      if (style.includes('right')) token.attrSet('class', 'right')
      if (style.includes('center')) token.attrSet('class', 'center')
    }
  }
})

/** What the browser takes for HTML: a TrustedHTML, where it knows them. */
export type Safe = string & { readonly safe: true }

/** Plain text's or Markdown's HTML, safe to be put into the page. */
export function html(source: string): Safe {
  return DOMPurify.sanitize(markdown.render(source), { RETURN_TRUSTED_TYPE: true }) as unknown as Safe
}

export const clean = (source: string) => DOMPurify.sanitize(source, { RETURN_TRUSTED_TYPE: true }) as unknown as Safe

/** The blocks of a text, each as it was written. Those that `before` ended with, but for the last two, are taken as they are. */
export function blocksOf(text: string, before: string[] = []): string[] {
  const kept = before.slice(0, -2)
  const head = kept.join('')
  if (kept.length && text.startsWith(head)) return [...kept, ...split(text.slice(head.length))]
  return split(text)
}

function split(text: string): string[] {
  const lines = text.split('\n').map((line, at, all) => (at < all.length - 1 ? `${line}\n` : line))
  const starts = markdown.parse(text, {}).filter((token) => token.level === 0 && token.map && token.nesting >= 0)
  const from = starts.map((token) => token.map![0])
  return from.map((start, at) => lines.slice(at ? start : 0, from[at + 1] ?? lines.length).join(''))
}
