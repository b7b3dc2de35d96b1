// Contacts of one geom with a height field, exactly: the body of a function in plain CUDA C++, for one thread.
//
// The ground is the triangles between neighbouring vertices, split as MuJoCo splits its cells. A sphere touches it where
// a triangle is nearest, and where its centre lies above another triangle that faces another way; edges between faces
// that a face contact stands for do not count. Capsules are spheres at both ends and, if one goes deeper, the deepest
// between them; boxes are their corners, and the vertices of the field inside them.
//
// Set before this text: kind (MuJoCo's geom type), size[3], centre[3] and turn[9] (row by row) of the geom in the
// field's frame; nrow, ncol (rows go along y), half_x, half_y, top (height of 1), heights (values 0 to 1); reach
// (distance (m) up to which something is a contact); result, MOST contacts of 7 floats: distance, point, normal.
// After it: `found` contacts.

constexpr int MOST = 4, SPHERE = 2, CAPSULE = 3, BOX = 6, MOST_BETWEEN = 14;
constexpr float SAME_FACE = 0.97f, FAR = 1e10f;
constexpr float CLOSE = 4e-3f;  // of a cell: nearer than that, the direction to a point is rounding

struct Vec {
    float x, y, z;
};
struct Touch {  // distance along the normal, point half way between the surfaces
    float distance;
    Vec point, normal;
};
auto add = [](Vec a, Vec b) { return Vec{a.x + b.x, a.y + b.y, a.z + b.z}; };
auto sub = [](Vec a, Vec b) { return Vec{a.x - b.x, a.y - b.y, a.z - b.z}; };
auto times = [](float s, Vec a) { return Vec{s * a.x, s * a.y, s * a.z}; };
auto larger = [](float a, float b) { return a > b ? a : b; };
auto smaller = [](float a, float b) { return a < b ? a : b; };
auto dot = [](Vec a, Vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; };

const float dx = 2.0f * half_x / (ncol - 1), dy = 2.0f * half_y / (nrow - 1);
int found = 0;

auto emit = [&](const Touch& touch) {
    if (touch.distance >= reach || found >= MOST) return;
    float* out = result + 7 * found++;
    out[0] = touch.distance;
    out[1] = touch.point.x, out[2] = touch.point.y, out[3] = touch.point.z;
    out[4] = touch.normal.x, out[5] = touch.normal.y, out[6] = touch.normal.z;
};
auto cell_of = [](float position, float half, float width, int vertices) {
    const int cell = (int)floorf((position + half) / width);
    return cell < 0 ? 0 : cell > vertices - 2 ? vertices - 2 : cell;
};
auto height_at = [&](float x, float y) {  // between vertices, on the triangles
    const int column = cell_of(x, half_x, dx, ncol), row = cell_of(y, half_y, dy, nrow);
    const float u = (x + half_x) / dx - column, v = (y + half_y) / dy - row;
    const float* z = heights + row * ncol + column;
    const float side = u >= v ? z[1] : z[ncol];
    return top * (z[0] + larger(u, v) * (side - z[0]) + smaller(u, v) * (z[ncol + 1] - side));
};
// The point of a triangle that is nearest to the origin, and whether it lies inside (Ericson, Real-Time Collision
// Detection, 5.1.5).
auto nearest_of = [&](Vec a, Vec b, Vec c, bool& inside) {
    const Vec ab = sub(b, a), ac = sub(c, a);
    const float d1 = -dot(ab, a), d2 = -dot(ac, a), d3 = -dot(ab, b), d4 = -dot(ac, b), d5 = -dot(ab, c),
                d6 = -dot(ac, c);
    inside = false;
    if (d1 <= 0.0f && d2 <= 0.0f) return a;
    if (d3 >= 0.0f && d4 <= d3) return b;
    if (d6 >= 0.0f && d5 <= d6) return c;
    const float vc = d1 * d4 - d3 * d2, vb = d5 * d2 - d1 * d6, va = d3 * d6 - d5 * d4;
    if (vc <= 0.0f && d1 >= 0.0f && d3 <= 0.0f) return add(a, times(d1 / (d1 - d3), ab));
    if (vb <= 0.0f && d2 >= 0.0f && d6 <= 0.0f) return add(a, times(d2 / (d2 - d6), ac));
    if (va <= 0.0f && d4 - d3 >= 0.0f && d5 - d6 >= 0.0f)
        return add(b, times((d4 - d3) / ((d4 - d3) + (d5 - d6)), sub(c, b)));
    inside = true;
    const float scale = 1.0f / (va + vb + vc);
    return add(a, add(times(vb * scale, ab), times(vc * scale, ac)));
};
// The touch of a sphere that goes deepest; `faces` takes up to `room` more, of faces that look elsewhere.
auto touch_of = [&](Vec centre_of, float radius, Touch* faces, int room, int& others) {
    Touch best = {FAR, centre_of, {0.0f, 0.0f, 1.0f}};
    others = 0;
    if (fabsf(centre_of.x) > half_x + radius || fabsf(centre_of.y) > half_y + radius) return best;
    const float around = radius + reach;
    const bool below = centre_of.z < height_at(centre_of.x, centre_of.y);
    const int first_row = cell_of(centre_of.y - around, half_y, dy, nrow);
    const int last_row = cell_of(centre_of.y + around, half_y, dy, nrow);
    const int first = cell_of(centre_of.x - around, half_x, dx, ncol), last = cell_of(centre_of.x + around, half_x, dx, ncol);
    float nearest = FAR;
    for (int row = first_row; row <= last_row; ++row) {
        for (int column = first; column <= last; ++column) {
            const float* z = heights + row * ncol + column;
            const float x0 = dx * column - half_x - centre_of.x, y0 = dy * row - half_y - centre_of.y;
            const Vec low = {x0, y0, top * z[0] - centre_of.z};
            const Vec high = {x0 + dx, y0 + dy, top * z[ncol + 1] - centre_of.z};
            for (int upper = 0; upper < 2; ++upper) {  // the triangles below and above the cell's diagonal
                const Vec side = upper ? Vec{x0, y0 + dy, top * z[ncol] - centre_of.z}
                                       : Vec{x0 + dx, y0, top * z[1] - centre_of.z};
                if (!below && larger(larger(low.z, high.z), side.z) < -around) continue;
                bool inside;
                Vec q = nearest_of(low, side, high, inside);
                float d = sqrtf(dot(q, q));
                if (d >= nearest && !(inside && !below && d < around)) continue;
                const Vec ab = sub(side, low), ac = sub(high, low);
                Vec face = {ab.y * ac.z - ab.z * ac.y, ab.z * ac.x - ab.x * ac.z, ab.x * ac.y - ab.y * ac.x};
                face = times((face.z < 0.0f ? -1.0f : 1.0f) / sqrtf(dot(face, face)), face);
                if (inside) {  // more digits, and no way out that leads through the ground
                    const float above = -dot(face, low);
                    if (above != 0.0f && (above < 0.0f) != below) continue;
                    d = fabsf(above), q = times(-above, face);
                }
                Touch touch;
                touch.normal = inside || d < CLOSE * dx ? face : times((below ? 1.0f : -1.0f) / d, q);
                touch.distance = (below ? -d : d) - radius;
                touch.point = add(centre_of, times(0.5f, sub(q, times(radius, touch.normal))));
                if (d < nearest) nearest = d, best = touch;
                if (!inside || below || d >= around) continue;
                int same = 0;
                while (same < others && dot(faces[same].normal, touch.normal) < SAME_FACE) ++same;
                if (same < others ? touch.distance < faces[same].distance : others < room) {
                    faces[same] = touch;
                    others += same == others;
                }
            }
        }
    }
    return best;
};

const Vec middle = {centre[0], centre[1], centre[2]};
if (kind == SPHERE) {
    Touch faces[MOST - 1];
    int others;
    const Touch best = touch_of(middle, size[0], faces, MOST - 1, others);
    emit(best);
    for (int i = 0; i < others; ++i) {
        if (dot(faces[i].normal, best.normal) < SAME_FACE) emit(faces[i]);
    }
} else if (kind == CAPSULE) {
    const Vec axis = {turn[2], turn[5], turn[8]};
    int others;
    float deepest = reach;
    for (int end = -1; end <= 1; end += 2) {
        const Touch touch = touch_of(add(middle, times(end * size[1], axis)), size[0], nullptr, 0, others);
        deepest = smaller(deepest, touch.distance);
        emit(touch);
    }
    const int wanted = (int)ceilf(2.0f * size[1] / smaller(dx, dy)) - 1;
    const int between = wanted < MOST_BETWEEN ? wanted : MOST_BETWEEN;
    Touch best = {deepest - 1e-3f * size[0], middle, {0.0f, 0.0f, 1.0f}};
    bool deeper = false;
    for (int i = 1; i <= between; ++i) {
        const Vec at = add(middle, times(size[1] * (2.0f * i / (between + 1) - 1.0f), axis));
        const Touch touch = touch_of(at, size[0], nullptr, 0, others);
        if (touch.distance < best.distance) best = touch, deeper = true;
    }
    if (deeper) emit(best);
} else if (kind == BOX) {
    Touch kept[MOST];
    int number = 0;
    auto keep = [&](const Touch& touch) {  // the deepest
        if (touch.distance >= reach) return;
        int place = number;
        if (number == MOST) {
            place = 0;
            for (int i = 1; i < MOST; ++i) place = kept[i].distance > kept[place].distance ? i : place;
            if (kept[place].distance <= touch.distance) return;
        } else {
            ++number;
        }
        kept[place] = touch;
    };
    const Vec axes[3] = {{turn[0], turn[3], turn[6]}, {turn[1], turn[4], turn[7]}, {turn[2], turn[5], turn[8]}};
    float extent[3] = {0.0f, 0.0f, 0.0f};
    for (int i = 0; i < 3; ++i) {
        extent[0] += fabsf(axes[i].x) * size[i], extent[1] += fabsf(axes[i].y) * size[i];
        extent[2] += fabsf(axes[i].z) * size[i];
    }
    for (int corner = 0; corner < 8; ++corner) {
        Vec at = middle;
        for (int i = 0; i < 3; ++i) at = add(at, times(corner >> i & 1 ? size[i] : -size[i], axes[i]));
        int others;
        keep(touch_of(at, 0.0f, nullptr, 0, others));
    }
    float deepest = reach;
    for (int i = 0; i < number; ++i) deepest = smaller(deepest, kept[i].distance);
    deepest -= CLOSE * dx;  // what pokes into the box counts where it goes deeper than the corners
    const bool outside = fabsf(middle.x) > half_x + extent[0] || fabsf(middle.y) > half_y + extent[1];
    const int first_row = cell_of(middle.y - extent[1], half_y, dy, nrow) + 1;
    const int last_row = outside ? -1 : cell_of(middle.y + extent[1], half_y, dy, nrow);
    const int first = cell_of(middle.x - extent[0], half_x, dx, ncol) + 1;
    const int last = cell_of(middle.x + extent[0], half_x, dx, ncol);
    for (int row = first_row; row <= last_row; ++row) {
        for (int column = first; column <= last; ++column) {
            const Vec vertex = {dx * column - half_x, dy * row - half_y, top * heights[row * ncol + column]};
            if (vertex.z < middle.z - extent[2]) continue;
            const Vec local = sub(vertex, middle);
            float out = FAR;
            Vec normal = {0.0f, 0.0f, 1.0f};
            bool inside = true;
            for (int i = 0; i < 3; ++i) {
                const float along = dot(local, axes[i]);
                inside = inside && fabsf(along) < size[i];
                for (int side = -1; side <= 1; side += 2) {  // the ground leaves through a face that looks down
                    const Vec push = times(-side, axes[i]);
                    const float depth = size[i] - side * along;
                    if (push.z > -1e-3f && depth < out) out = depth, normal = push;
                }
            }
            if (inside && -out < deepest) keep({-out, sub(vertex, times(0.5f * out, normal)), normal});
        }
    }
    for (int i = 0; i < number; ++i) emit(kept[i]);
}
